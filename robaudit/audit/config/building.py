"""From resolved settings to what an audit is asked to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from robaudit.audit.config.attack_specs import AttackSpec
from robaudit.audit.config.duration import parse_duration
from robaudit.audit.config.places import find_places
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import Resolved
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.audit.config.settings_of_inputs import INPUT
from robaudit.audit.process.sandbox import mode_of
from robaudit.audit.result.document import Result
from robaudit.data.delimited import decode
from robaudit.data.registry import check_source, is_ours, readers
from robaudit.defenses.registry import named_files, parse_chain
from robaudit.detectors import registry as detectors
from robaudit.errors import UsageError, reason
from robaudit.files import read_regular
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint
from robaudit.target.files.sniff import check_file, model_format
from robaudit.target.head.rule import parse_rule
from robaudit.target.reading.class_names import names_in
from robaudit.target.reading.interface import Interface

__all__ = ["build_request"]

LARGEST = 2**24
"""Bytes of a file with class names."""
MODELS = [name for name, each in SETTINGS.items() if any(part.read == "model" for part in each.parts)]
"""Settings that name models beside the one under audit."""
JOINT = "orthogonal-pgd"
"""The attack on a model and the detector beside it."""
OF_THE_INPUT = [name for name, each in SETTINGS.items() if each.inside == INPUT and name != "fixed"]


def build_request(
    model: Path, resolved: Resolved, *, command: str = "", baseline: Result | None = None
) -> AuditRequest:
    """The audit that resolved settings describe; looks for a sidecar file where no data is named.

    Args:
        model: the file under audit.
        resolved: settings and where each came from.
        command: for the record.
        baseline: the earlier result that the settings name.

    Raises:
        UsageError: a file is missing, or cannot be what it should be.
    """
    settings = resolved.settings
    libraries = tuple(_library(Path(path)) for path in settings.custom_ops)
    model_format(model)
    for path in (path for name in MODELS for path in _paths(vars(settings)[name])):
        check_file(path)  # what is in it costs the attacks that need it alone
    for path in named_files(parse_chain(settings.defense)) if settings.defense is not None else ():
        check_file(path)
    for path in detectors.named_files(settings.detector):
        check_file(path)
    if settings.detector is not None and is_endpoint(model):
        raise UsageError("--detector: a detector stands beside a model file, and an endpoint is none")
    request = AuditRequest(
        model=model,
        profile=resolved.profile if settings.detector is None else _joint(resolved.profile),
        settings=settings,
        classes=_classes(settings.classes),
        surrogates=_paths(settings.surrogates),
        interface=_interface(settings),
        batch_size=_batch_size(settings, model),
        time_budget=None if settings.time_budget is None else parse_duration(settings.time_budget),
        sandbox=mode_of(settings.sandbox, trust_model=settings.trust_model),
        custom_ops=libraries,
        eps_default=resolved.eps_default,
        command=command,
        profile_source=resolved.profile_source,
        baseline=baseline,
    )
    request = _with_data(request, resolved)
    own = None if resolved.profile_source == "built-in" else resolved.profile_source
    return dataclasses.replace(request, places=find_places(model, _path(resolved.config_file), own, request.sources))


def _joint(profile: Profile) -> Profile:
    """With the attack that gets past a detector too, where the profile does not name it."""
    if any(spec.id.partition("+")[0] == JOINT for spec in profile.attacks) or profile.threat.access != "white-box":
        return profile
    return profile.model_copy(update={"attacks": (*profile.attacks, AttackSpec(id=JOINT, when="white-box"))})


def _with_data(request: AuditRequest, resolved: Resolved) -> AuditRequest:
    """With data, labels and ranges (those beside the model where none are named), and what is declared."""
    settings, sources = resolved.settings, dict(resolved.sources)
    said = {name: value for name in OF_THE_INPUT if (value := vars(settings)[name]) is not None}
    data, ranges = _path(settings.data), _path(settings.feature_ranges)
    if data is None and (data := _beside(request.model, "data", _suffixes())) is not None:
        sources["data"] = "sidecar file"
    reader = None if data is None else check_source(data)
    if ranges is None and reader is not None and reader.tabular and "domain" not in said:
        ranges = _beside(request.model, "ranges", (".csv", ".yaml"))
        sources |= {} if ranges is None else {"feature_ranges": "sidecar file"}
    stability = settings.labels == "model"
    return dataclasses.replace(
        request,
        data=data,
        labels=None if stability else _path(settings.labels),
        feature_ranges=ranges,
        reference="model" if stability or data is None else "labels",
        input_values=said,
        input_sources={name: sources[SETTINGS[name].origin_key] for name in said},
        sources=sources,
    )


def _batch_size(settings: Settings, model: Path) -> int | None:
    """Rows of one call; of an endpoint as its file says, as nothing is paid to find out what is fast."""
    if settings.batch_size != "auto":
        return int(settings.batch_size)
    if not is_endpoint(model):
        return None
    endpoint = read_endpoint(model)
    return endpoint.batch * endpoint.concurrency


def _interface(settings: Settings) -> Interface:
    return Interface(
        settings.output_name,
        settings.input_name,
        settings.fixed or {},
        rule=None if settings.decision is None else parse_rule(settings.decision),
        fresh_state=settings.fresh_state,
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _paths(texts: str | tuple[str, ...] | None) -> tuple[Path, ...]:
    return tuple(map(Path, [texts] if isinstance(texts, str) else texts or ()))


def _library(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"there is no library of custom operators {path}")
    return path.resolve()


def _suffixes() -> tuple[str, ...]:
    """Of files with data that may lie beside a model; where there are several, the first counts."""
    others = (suffix for reader in readers() if not is_ours(reader) for suffix in reader.suffixes)
    return (".npz", ".csv", ".tsv", *others)


def _beside(model: Path, what: str, suffixes: tuple[str, ...]) -> Path | None:
    """A file named after the model, such as MODEL.data.npz, in its folder."""
    paths = (model.with_name(f"{model.stem}.{what}{suffix}") for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def _classes(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Names as they are given, or those in a file."""
    if not isinstance(value, str):
        return value
    path = Path(value)
    try:
        text = decode(read_regular(path, LARGEST), path)[0]
    except OSError as error:
        raise UsageError(f"the class names in {value} cannot be read: {reason(error)}") from error
    if not (names := names_in(text)):
        raise UsageError(f"{value} holds no class names; write one a line, in the order of the model's outputs")
    return tuple(names)
