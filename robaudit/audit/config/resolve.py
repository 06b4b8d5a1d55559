"""Settings of a run: flags, ``ROBAUDIT_*`` variables, the nearest ``robaudit.yaml``, the profile, in turn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from robaudit.audit.config.discovery import ALLOWED, CONFIG_NAME, beyond, find_config, read_config
from robaudit.audit.config.gatespecs import check_contradictions
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.profile import (
    CurveSpec,
    GateSpec,
    Profile,
    RadiusSpec,
    ThreatSpec,
    load_profile,
    merge_gates,
    parse_eps,
    profile_path,
)
from robaudit.audit.config.settings import DEFAULT_PROFILE, PATH_LISTS, InputSettings, Settings, hyphens
from robaudit.audit.config.yaml_file import refuse
from robaudit.audit.result.document import Norm
from robaudit.documents import Document
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["CONFIG_NAME", "DEFAULT_EPS", "Resolved", "resolve_settings"]

DEFAULT_EPS: dict[str, str] = {"linf": "8/255", "l2": "0.5", "l1": "12", "l0": "16"}
"""Radius where a norm was chosen and no radius with it."""

PREFIX = "ROBAUDIT_"
OWN_VARIABLES = ("ROBAUDIT_INTERNAL_", "ROBAUDIT_TEST_", ALLOWED)
SHORT_GATES = (("robust_accuracy", "min_robust", "min"), ("regression", "non_inferiority_margin", "max"))
"""Gates with a setting of their own: metric, setting and bound."""
INPUT_KEYS = ("mean", "std", "scale", "layout", "channels", "resize", "crop", "interpolation", "domain", "fixed")
PATH_KEYS = frozenset(
    {"data", "labels", "feature_ranges", "classes", "surrogates", "stand_in", "output", "run_dir"}
    | {"baseline", "sign", "verify"}
)
WRITTEN = frozenset({"output", "run_dir"})
"""Those that are written; in a file they stay in its folder, for it may come with a model from anywhere."""


class Resolved(BaseModel):
    """Settings and profile of a run, and where each setting came from."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    """The settings; ``gates`` is complete (profile, file, min-robust)."""
    profile: Profile
    """The profile with threat, samples and gates as the settings have them."""
    profile_source: str
    """``built-in``, or the path of the profile's file."""
    sources: dict[str, str]
    """Origin by key (``input.mean`` where nested): a flag, a variable, a file, a profile, or ``default``."""
    eps_default: bool
    """Whether nobody chose the radius."""
    config_file: str | None
    """The ``robaudit.yaml`` that was read."""


def _validate(content: dict[str, Any], where: str | Document) -> dict[str, Any]:
    """The given keys alone, validated, by field name; ``input.*`` flattened."""
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise refuse(error, where, Settings) from error
    for name, check in (("eps", lambda text: parse_eps(text, "any")), ("goal", parse_goal)):
        try:
            if name in settings.model_fields_set:
                check(getattr(settings, name))
        except UsageError as error:
            place = where.where((name,)) if isinstance(where, Document) else where
            raise UsageError(f"{place}: {error}") from error
    given = {name: getattr(settings, name) for name in settings.model_fields_set if name != "input"}
    for name in settings.input.model_fields_set:
        given[f"input.{name}"] = getattr(settings.input, name)
    return {name: value for name, value in given.items() if value is not None}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flags or variables by name, those of the input put under ``input``."""
    content: dict[str, Any] = {}
    for name, value in flat.items():
        if name in INPUT_KEYS:
            content.setdefault("input", {})[name] = value
        else:
            content[name] = value
    return content


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in flags.items() if value is not None and value not in ((), [])}
    if isinstance(given.get("input"), Mapping):
        given.update(given.pop("input"))
    return _validate(_nested(given), "command line")


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {_variable(name): name for name in (*Settings.model_fields, *INPUT_KEYS)}
    for structured in ("input", "gates"):
        del known[_variable(structured)]
    given: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(OWN_VARIABLES):
            continue
        if variable not in known:
            raise UsageError(f"unknown environment variable {variable}{did_you_mean(variable, known)}")
        if text:
            name = known[variable]
            given[name] = text.split(os.pathsep) if name in PATH_LISTS else text
    return _validate(_nested(given), "environment")


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _from_file(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    document = read_config(path, environment)
    given = _validate(document.content, document)
    folder = path.parent

    def absolute(text: str) -> str:
        return str(folder / os.path.expanduser(text))

    for name in PATH_KEYS & given.keys():
        value = given[name]
        if name == "labels" and value == "model":
            continue
        if isinstance(value, str):
            given[name] = absolute(value)
        elif name != "classes":
            given[name] = tuple(absolute(text) for text in value)
    if "input.fixed" in given:
        given["input.fixed"] = {
            name: absolute(text) if text.lower().endswith((".npy", ".npz")) else text
            for name, text in given["input.fixed"].items()
        }
    for name in WRITTEN & given.keys():
        for target in [given[name]] if isinstance(given[name], str) else given[name]:
            if beyond(target, folder):
                raise UsageError(
                    f"{document.where((name,))}: {hyphens(name)}: {target} lies outside of the file's folder, where it "
                    f"may not have anything written; use --{hyphens(name)}"
                )
    if "profile" in given:
        try:
            found, built_in = profile_path(given["profile"], folder)
        except UsageError as error:
            raise UsageError(f"{document.where(('profile',))}: profile: {error}") from error
        given["profile"] = given["profile"] if built_in else str(found)
    return given


def _as_specific_as_the_profile(levels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Levels at least as specific as the one that names the profile."""
    names = list(levels)
    last = max((place for place, name in enumerate(names) if "profile" in levels[name]), default=0)
    return names[last:]


def _names_one_threat(profile: Profile, given: Mapping[str, Any], counts: bool) -> bool:
    """Whether settings pick one norm of a profile with several; those of a place less specific do not count.

    Raises:
        UsageError: a radius without its norm.
    """
    if counts and "eps" in given and "norm" not in given:
        raise UsageError(f"the profile {profile.name} has several norms, so eps needs the norm that it is meant for")
    return counts and "norm" in given


def _gates(
    profile: Profile, levels: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]
) -> tuple[GateSpec, ...]:
    """The profile's gates, with those of each place and the short forms put over them."""
    gates = profile.gates
    for given in levels.values():
        gates = merge_gates(gates, given.get("gates", ()))
    for metric, name, bound in SHORT_GATES:
        if values.get(name) is not None:
            known = [gate for gate in gates if gate.metric == metric]
            plain = GateSpec.model_validate({"metric": metric, bound: values[name]})
            wanted = next((gate for gate in known if getattr(gate, bound) is not None), (known or [plain])[0])
            others = [gate for gate in known if gate is not wanted and getattr(gate, bound) is None]
            gates = merge_gates(gates, [*others, wanted.model_copy(update={bound: values[name]})])
    check_contradictions(gates)
    return gates


def _curve(asked: bool, profile: Profile) -> CurveSpec | None:
    return (profile.curve or CurveSpec()) if asked else None


def _origin(level: str, name: str, file: Path | None) -> str:
    key = name.removeprefix("input.")
    if level == "flag":
        return f"flag --{'input' if key == 'fixed' else hyphens(key)}"
    return f"environment {_variable(key)}" if level == "environment" else str(file)


def _balls(
    profile: Profile, levels: Mapping[str, Mapping[str, Any]], file: Path | None
) -> tuple[Norm, str, str, tuple[RadiusSpec, ...]]:
    """(norm, eps, where eps comes from, further balls), each from the most specific level that gives it.

    Raises:
        UsageError: the radius is none in that norm.
    """
    origin = f"profile {profile.name}"
    norm, eps, eps_origin = profile.threat.norm, profile.threat.eps, origin
    also, chosen = profile.threat.also, _as_specific_as_the_profile(levels)
    for level, given in levels.items():
        if profile.threat.also and not _names_one_threat(profile, given, level in chosen):
            continue
        if profile.threat.also:
            mine = {norm: eps} | {other.norm: other.eps for other in profile.threat.also}
            also, norm, eps, eps_origin = (), given["norm"], mine.get(given["norm"], eps), origin
        if "norm" in given:
            if given["norm"] != norm and "eps" not in given:
                eps, eps_origin = DEFAULT_EPS[given["norm"]], "default"
            norm = given["norm"]
        if "eps" in given:
            eps, eps_origin = given["eps"], _origin(level, "eps", file)
    try:
        parse_eps(eps, norm)
    except UsageError as error:
        raise UsageError(f"{eps_origin}: {error}") from error
    return norm, eps, eps_origin, also


def resolve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], model: str | os.PathLike[str]
) -> Resolved:
    """All settings of a run on a model, each from the most specific place that gives it.

    A norm given without a radius, at a place more specific than the radius, takes that norm's default radius.

    Args:
        flags: given flags by field name (``batch_size``, ``mean``); None and empty lists are not given.
        environment: environment variables.
        model: path of the model, whose folder and those above are searched for ``robaudit.yaml``.

    Raises:
        UsageError: an unknown key or profile, a value of the wrong type or out of range, a ``robaudit.yaml`` of another
            user, or one that names a file outside of its folder to write.
    """
    file = find_config(Path(model), environment)
    levels = {
        "file": _from_file(file, environment) if file else {},
        "environment": _from_environment(environment),
        "flag": _from_flags(flags),
    }
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for level, given in levels.items():
        for name, value in given.items():
            values[name], sources[name] = value, _origin(level, name, file)

    profile = load_profile(values.get("profile", DEFAULT_PROFILE))
    path, built_in = profile_path(values.get("profile", DEFAULT_PROFILE))
    origin = f"profile {profile.name}"
    norm, eps, eps_origin, also = _balls(profile, levels, file)
    values |= {"norm": norm, "eps": eps, "goal": values.get("goal", profile.threat.goal)}
    sources |= {"norm": sources.get("norm", origin), "eps": eps_origin, "goal": sources.get("goal", origin)}

    if "samples" not in values and profile.data.samples is not None:
        values["samples"], sources["samples"] = profile.data.samples, origin
    values["gates"] = _gates(profile, levels, values)
    sources.setdefault("gates", origin)

    inputs = {name: values.pop(f"input.{name}") for name in INPUT_KEYS if f"input.{name}" in values}
    settings = Settings(**values, input=InputSettings(**inputs))
    for name in Settings.model_fields:
        if name != "input":
            sources.setdefault(name, "default")
    threat = ThreatSpec(norm=norm, eps=eps, goal=settings.goal, queries=profile.threat.queries, also=also)
    return Resolved(
        settings=settings,
        profile=profile.model_copy(
            update={
                "threat": threat,
                "data": profile.data.model_copy(update={"samples": settings.samples}),
                "gates": settings.gates,
                "curve": profile.curve if settings.curve is None else _curve(settings.curve, profile),
            }
        ),
        profile_source="built-in" if built_in else str(path),
        sources=sources,
        eps_default=eps_origin == "default" or (eps_origin == origin and built_in),
        config_file=str(file) if file else None,
    )
