"""From resolved settings to what an audit is asked to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robaudit.audit.config.request import AuditRequest
    from robaudit.audit.config.resolve import Resolved
    from robaudit.audit.config.settings import Settings
    from robaudit.audit.result.document import Result

__all__ = ["read_files", "to_request"]

LARGEST = 2**24
"""Bytes of a file with class names."""


def to_request(
    model: Path,
    resolved: Resolved,
    *,
    trust_model: bool,
    command: str,
    process: Mapping[str, Any] | None = None,
) -> AuditRequest:
    """The audit that resolved settings describe; looks for a sidecar file where no data is named.

    Args:
        model: the file under audit.
        resolved: settings and where each came from.
        trust_model: as flagged.
        command: for the record.
        process: flags on the process that loads the file: sandbox, load_timeout, memory_limit, custom_ops.

    Raises:
        UsageError: a file is missing, or cannot be what it should be.
    """
    from robaudit.audit.config.duration import parse_duration
    from robaudit.audit.config.places import find_places
    from robaudit.audit.config.request import AuditRequest
    from robaudit.data.open import check_source
    from robaudit.data.table import is_table
    from robaudit.target.interface import Interface
    from robaudit.target.rule import parse_rule
    from robaudit.target.sniff import check_file, model_format

    settings = resolved.settings
    values = settings.input.model_dump(exclude_none=True)
    interface = Interface(
        settings.output_name,
        settings.input_name,
        values.pop("fixed", {}),
        rule=None if settings.decision is None else parse_rule(settings.decision),
        fresh_state=settings.fresh_state,
    )
    sources = dict(resolved.sources)
    data = Path(settings.data) if settings.data is not None else None
    if data is None:
        data = _beside(model, "data", ("npz", "csv", "tsv"))
        sources["data"] = sources["data"] if data is None else "sidecar file"
    ranges = Path(settings.feature_ranges) if settings.feature_ranges is not None else None
    if ranges is None and data is not None and is_table(data) and "domain" not in values:
        ranges = _beside(model, "ranges", ("csv", "yaml"))
        sources["feature_ranges"] = sources["feature_ranges"] if ranges is None else "sidecar file"
    limits = {name: value for name, value in (process or {}).items() if value is not None}
    limits["custom_ops"] = tuple(_library(path) for path in limits.get("custom_ops", ()))
    beside = (*settings.surrogates, *([] if settings.stand_in is None else [settings.stand_in]))
    model_format(model)
    for path in map(Path, beside):  # what is in it costs the attacks that need it alone
        check_file(path)
    if data is not None:
        check_source(data)
    stability = settings.labels == "model"
    return AuditRequest(
        model=model,
        profile=resolved.profile,
        seed=settings.seed,
        data=data,
        labels=None if stability or settings.labels is None else Path(settings.labels),
        label_column=settings.label_column,
        target_column=settings.target_column,
        feature_ranges=ranges,
        reference="model" if stability or data is None else "labels",
        classes=_classes(settings.classes),
        surrogates=tuple(Path(p) for p in settings.surrogates),
        stand_in=None if settings.stand_in is None else Path(settings.stand_in),
        input_values=values,
        input_sources={k: sources[f"input.{k}"] for k in values},
        interface=interface,
        device=settings.device,
        compile=settings.compile,
        search_precision=settings.search_precision,
        batch_size=None if settings.batch_size == "auto" else int(settings.batch_size),
        declared_accuracy=settings.clean_accuracy,
        until_decided=settings.until_decided,
        time_budget=None if settings.time_budget is None else parse_duration(settings.time_budget),
        trust_model=trust_model,
        eps_default=resolved.eps_default,
        settings=settings.model_dump(mode="json"),
        sources=sources,
        command=command,
        baseline=_baseline(settings),
        profile_source=resolved.profile_source,
        places=find_places(
            model,
            Path(resolved.config_file) if resolved.config_file else None,
            None if resolved.profile_source == "built-in" else resolved.profile_source,
            sources,
        ),
        **limits,
    )


def read_files(request: AuditRequest, resolved: Resolved) -> list[tuple[str, Path | None]]:
    """The files and folders that an audit reads, each with what it is; None where it is not given."""
    from robaudit.audit.run.identity import files_beside
    from robaudit.cli.report import result_path

    settings = resolved.settings
    named = {
        "the baseline": None if settings.baseline is None else result_path(Path(settings.baseline)),
        "the settings": resolved.config_file,
        "the profile": resolved.profile_source,
        "the key": settings.sign,
        "the public key": settings.verify,
        "the class names": settings.classes if isinstance(settings.classes, str) else None,
    }
    beside = (*request.surrogates, *([] if request.stand_in is None else [request.stand_in]), *request.custom_ops)
    words = [("what is written about the model", path) for path in files_beside(request.model)]
    fixed = [("the value of an input", Path(os.path.expanduser(value))) for value in request.interface.fixed.values()]
    return [
        ("the model", request.model),
        ("the data", request.data),
        ("the labels", request.labels),
        ("the ranges of the features", request.feature_ranges),
        *(("a file that the audit loads", path) for path in beside),
        *((what, None if path is None else Path(path)) for what, path in named.items()),
        *words,
        *fixed,
    ]


def _baseline(settings: Settings) -> Result | None:
    """The earlier result, signed as it must be."""
    from robaudit.audit.stored.file import load_result
    from robaudit.audit.stored.signing import read_trusted
    from robaudit.cli.report import result_path

    keys = None if settings.verify is None else read_trusted(Path(settings.verify))
    return None if settings.baseline is None else load_result(result_path(Path(settings.baseline)), keys)


def _library(path: Path) -> Path:
    from robaudit.errors import UsageError

    if not path.is_file():
        raise UsageError(f"there is no library of custom operators {path}")
    return path.resolve()


def _beside(model: Path, what: str, suffixes: tuple[str, ...]) -> Path | None:
    """A file named after the model, such as MODEL.data.npz, in its folder."""
    paths = (model.with_name(f"{model.stem}.{what}.{suffix}") for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def _classes(value: Any) -> tuple[str, ...] | None:
    from robaudit.data.delimited import decode
    from robaudit.errors import UsageError
    from robaudit.files import read_regular
    from robaudit.target.class_names import names_in

    if value is None or not isinstance(value, str):
        return value if value is None else tuple(value)
    path = Path(value)
    try:
        text = decode(read_regular(path, LARGEST), path)[0]
    except OSError as error:
        raise UsageError(f"the class names in {value} cannot be read: {error}") from error
    if not (names := names_in(text)):
        raise UsageError(f"{value} holds no class names; write one a line, in the order of the model's outputs")
    return tuple(names)
