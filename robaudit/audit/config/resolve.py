"""Settings of a run: flags, ``ROBAUDIT_*`` variables, the nearest ``robaudit.yaml``, the profile, in turn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robaudit.audit.config.discovery import CONFIG_NAME, find_config
from robaudit.audit.config.gatespecs import check_contradictions
from robaudit.audit.config.keys import IN_RECORDS
from robaudit.audit.config.levels import from_environment, from_file, from_flags
from robaudit.audit.config.profile import (
    CurveSpec,
    GateSpec,
    MatrixSpec,
    Profile,
    RadiusSpec,
    SecrecySpec,
    SetSpec,
    ThreatSpec,
    merge_gates,
    parse_eps,
)
from robaudit.audit.config.profile_files import load_profile, profile_path
from robaudit.audit.config.settings import DEFAULT_PROFILE, SETTINGS, Settings
from robaudit.audit.config.specs import AnswersSpec
from robaudit.audit.config.surrogate_specs import surrogates_asked
from robaudit.audit.result.document import Norm
from robaudit.errors import UsageError

__all__ = ["CONFIG_NAME", "DEFAULT_EPS", "Resolved", "resolve_settings", "short_gate"]

DEFAULT_EPS: dict[str, str] = {"linf": "8/255", "l2": "0.5", "l1": "12", "l0": "16"}
"""Radius where a norm was chosen and no radius with it."""

SHORT_GATES = (("robust_accuracy", "min_robust", "min"), ("regression", "non_inferiority_margin", "max"))
"""Gates with a setting of their own: metric, setting and bound."""


@dataclass(frozen=True)
class Resolved:
    """Settings and profile of a run, and where each setting came from.

    Args:
        settings: with ``gates`` complete (profile, file, min-robust).
        profile: with threat, samples and gates as the settings have them.
        profile_source: ``built-in``, or the path of the profile's file.
        sources: origin by key (``input.mean`` where nested): a flag, a variable, a file, a profile, or ``default``.
        eps_default: whether nobody chose the radius.
        config_file: the ``robaudit.yaml`` that was read.
    """

    settings: Settings
    profile: Profile
    profile_source: str
    sources: dict[str, str]
    eps_default: bool
    config_file: str | None


def _as_specific_as_the_profile(levels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Levels at least as specific as the one that names the profile."""
    names = list(levels)
    last = max((place for place, name in enumerate(names) if "profile" in levels[name]), default=0)
    return names[last:]


def _names_one_threat(profile: Profile, given: Mapping[str, Any], *, counts: bool) -> bool:
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
            plain = short_gate(name, values[name])
            wanted = next((gate for gate in known if getattr(gate, bound) is not None), (known or [plain])[0])
            others = [gate for gate in known if gate is not wanted and getattr(gate, bound) is None]
            gates = merge_gates(gates, [*others, wanted.model_copy(update={bound: values[name]})])
    check_contradictions(gates)
    return gates


def short_gate(name: str, bound: float) -> GateSpec:
    """The gate that a setting of its own stands for, such as ``min_robust``."""
    metric, side = next((metric, side) for metric, setting, side in SHORT_GATES if setting == name)
    return GateSpec.model_validate({"metric": metric, side: bound})


SEARCHES: dict[str, type[CurveSpec | SecrecySpec | MatrixSpec]] = {
    "curve": CurveSpec,
    "secrecy": SecrecySpec,
    "matrix": MatrixSpec,
}


def _searches(settings: Settings, profile: Profile) -> dict[str, CurveSpec | SecrecySpec | MatrixSpec | None]:
    """What is searched beside the cascade: as the settings say, else as the profile does."""
    found: dict[str, CurveSpec | SecrecySpec | MatrixSpec | None] = {}
    for name, spec in SEARCHES.items():
        asked, known = vars(settings)[name], getattr(profile, name)
        found[name] = known if asked is None else (known or spec()) if asked else None
    return found


def _sets(profile: Profile, mask: str | None) -> tuple[SetSpec, ...]:
    """The profile's perturbation sets, of which a mask that is given beside it takes the place of its own."""
    if mask is None:
        return profile.threat.sets
    return (
        *(one for one in profile.threat.sets if one.id != "mask"),
        SetSpec.model_validate({"id": "mask", "file": mask}),
    )


def _served(threat: ThreatSpec) -> dict[str, Any]:
    """What a profile says of what an outsider gets, by the settings' names; nothing where it is as usual."""
    answers = threat.answers
    said = {
        "top_scores": answers.top,
        "score_decimals": answers.decimals,
        "score_noise": answers.noise or None,
        "reject_below": answers.reject_below,
        "duplicates": threat.duplicates,
        "query_rate": threat.rate,
    }
    return {name: value for name, value in said.items() if value != SETTINGS[name].default}


def _service(settings: Settings) -> dict[str, Any]:
    """What an outsider gets, as fields of the threat model; nothing where it is as usual."""
    answers = {
        "top": settings.top_scores,
        "decimals": settings.score_decimals,
        "noise": settings.score_noise or None,
        "reject_below": settings.reject_below,
    }
    said = {name: value for name, value in answers.items() if value is not None}
    found: dict[str, Any] = {"answers": AnswersSpec.model_validate(said)} if said else {}
    found |= {} if settings.duplicates == "charged" else {"duplicates": settings.duplicates}
    return found | ({} if settings.query_rate is None else {"rate": settings.query_rate})


def _origin(level: str, name: str, file: Path | None) -> str:
    if level == "file":
        return str(file)
    return f"flag {SETTINGS[name].option}" if level == "flag" else f"environment {SETTINGS[name].environment}"


def _balls(
    profile: Profile, levels: Mapping[str, Mapping[str, Any]], file: Path | None
) -> tuple[Norm, str, str, tuple[RadiusSpec, ...]]:
    """(norm, eps, where eps comes from, further balls), each from the most specific level that gives it.

    Raises:
        UsageError: the radius is not valid in that norm.
    """
    origin = f"profile {profile.name}"
    norm, eps, eps_origin = profile.threat.norm, profile.threat.eps, origin
    also, chosen = profile.threat.also, _as_specific_as_the_profile(levels)
    for level, given in levels.items():
        if profile.threat.also and not _names_one_threat(profile, given, counts=level in chosen):
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
        "file": from_file(file, environment) if file else {},
        "environment": from_environment(environment),
        "flag": from_flags(flags),
    }
    values = {name: value for given in levels.values() for name, value in given.items()}
    origins = {name: _origin(level, name, file) for level, given in levels.items() for name in given}
    profile = load_profile(values.get("profile", DEFAULT_PROFILE))
    path, built_in = profile_path(values.get("profile", DEFAULT_PROFILE))
    origin = f"profile {profile.name}"
    norm, eps, eps_origin, also = _balls(profile, levels, file)
    of_profile: dict[str, Any] = {"norm": profile.threat.norm, "eps": eps, "goal": profile.threat.goal, "gates": ()}
    if profile.threat.access != "white-box":
        of_profile["access"] = profile.threat.access
    if profile.data.samples is not None:
        of_profile["samples"] = profile.data.samples
    of_profile |= _served(profile.threat)
    origins = dict.fromkeys(of_profile, origin) | origins | {"eps": eps_origin}
    values = of_profile | values | {"norm": norm, "eps": eps, "gates": _gates(profile, levels, values)}
    settings = Settings(**values)
    threat = ThreatSpec(
        norm=norm,
        eps=eps,
        goal=settings.goal,
        access=settings.access,
        queries=profile.threat.queries,
        also=also,
        sets=_sets(profile, settings.mask),
        **_service(settings),
    )
    return Resolved(
        settings=settings,
        profile=profile.model_copy(
            update={
                "threat": threat,
                "data": profile.data.model_copy(update={"samples": settings.samples}),
                "gates": settings.gates,
                "surrogates": surrogates_asked(settings.make_surrogates, profile.surrogates),
                "certificates": profile.certificates
                | {name: profile.certificates.get(name, {}) for name in settings.certify},
            }
            | _searches(settings, profile)
        ),
        profile_source="built-in" if built_in else str(path),
        sources=_sources(origins),
        eps_default=eps_origin == "default" or (eps_origin == origin and built_in),
        config_file=str(file) if file else None,
    )


def _sources(origins: Mapping[str, str]) -> dict[str, str]:
    """Where each setting came from, in the order of the declarations; of a map and of newer ones those given alone."""
    always = {name for name in IN_RECORDS if not SETTINGS[name].inside} | origins.keys()
    told = [each for each in SETTINGS.values() if not each.alone and each.name in always]
    return {each.origin_key: origins.get(each.name, "default") for each in told}
