"""Profiles: a threat model, a choice of data, attacks with parameters, checks and gates, as YAML.

A profile may extend another: maps merge, ``attacks`` replace the base's, a gate replaces the base's gate
on the same metric, so that an owner's gate never drops a built-in one unseen.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from robaudit.audit.goals import parse_goal
from robaudit.audit.parse import read_yaml, refuse
from robaudit.audit.result import Norm
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = [
    "CHECKS",
    "AttackSpec",
    "CurveSpec",
    "DataSpec",
    "GateSpec",
    "Profile",
    "RadiusSpec",
    "ThreatSpec",
    "check_metric",
    "list_profiles",
    "load_profile",
    "merge_gates",
    "parse_eps",
    "profile_schema",
]

CHECKS = (
    "clean",
    "parity",
    "determinism",
    "batch-state",
    "output-head",
    "zero-gradient",
    "unbounded",
    "black-over-white",
    "evidence",
)
"""Names of the checks that a profile may ask for."""

METRICS = ("robust_accuracy", "stability", "clean_accuracy", "coverage", "validity")
OF_NORM = ("robust_accuracy", "stability")
NORMS = ("linf", "l2", "l1", "l0")
ATTACK_FIELDS = ("cumulative_robust_accuracy", "rate_alone", "median_distance")


def parse_eps(text: str | float, norm: str = "linf") -> float:
    """The radius that a number or a fraction such as ``8/255`` names.

    Raises:
        UsageError: no number, not finite, not above 0, above 1 in L-infinity, or no whole number in L0.
    """
    try:
        if isinstance(text, bool):
            raise ValueError
        fraction = isinstance(text, str) and "/" in text
        value = float(Fraction("".join(str(text).split()))) if fraction else float(text)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        raise UsageError(f"eps {text!r} is not a number or a fraction such as 8/255") from None
    if not math.isfinite(value):
        raise UsageError(f"eps {text!r} is not finite")
    if value <= 0:
        raise UsageError(f"eps must be above 0, not {text}")
    if norm == "linf" and value > 1:
        hint = f"; did you mean {value:g}/255?" if value <= 255 else ""
        raise UsageError(f"eps is a fraction of the domain's width, at most 1 in L∞, not {text}{hint}")
    if norm == "l0" and value != int(value):
        raise UsageError(f"eps in L0 counts features and must be a whole number, not {text}")
    return value


def check_metric(metric: str) -> None:
    """Refuse a metric that no result has.

    Raises:
        UsageError: unknown, with a suggestion.
    """
    head, _, rest = metric.partition(".")
    if metric in METRICS or (head == "checks" and rest in CHECKS):
        return
    if head in OF_NORM and rest:
        if rest in NORMS:
            return
        raise UsageError(f"{head} is that of a norm, {', '.join(NORMS)}, not of {rest!r}{did_you_mean(rest, NORMS)}")
    if head == "checks":
        raise UsageError(f"no check is called {rest!r}{did_you_mean(rest, CHECKS)}")
    if head == "attacks":
        attack, _, field = rest.partition(".")
        if attack and field in ATTACK_FIELDS:
            return
        raise UsageError(f"the metric {metric!r} is not attacks.ID.FIELD{did_you_mean(field, ATTACK_FIELDS)}")
    options = (*METRICS, "checks.ID", "attacks.ID.FIELD")
    raise UsageError(f"no result has the metric {metric!r}{did_you_mean(metric, options)}")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RadiusSpec(_Spec):
    """A further ball, of another norm."""

    norm: Norm
    """Norm of the perturbation: linf, l2, l1 or l0."""
    eps: str
    """Radius as a fraction of the domain's width, a number or a fraction (l0: features)."""

    @field_validator("eps", mode="before")
    @classmethod
    def _as_text(cls, eps: object) -> object:
        return str(eps) if isinstance(eps, int | float) and not isinstance(eps, bool) else eps

    @model_validator(mode="after")
    def _has_radius(self) -> RadiusSpec:
        try:
            parse_eps(self.eps, self.norm)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def radius(self) -> float:
        """The radius as a number."""
        return parse_eps(self.eps, self.norm)


class ThreatSpec(_Spec):
    """What the attacker may do."""

    norm: Norm = "linf"
    """Norm of the perturbation: linf, l2, l1 or l0."""
    eps: str = "8/255"
    """Radius as a fraction of the domain's width, a number or a fraction such as 8/255 (l0: features)."""
    goal: str = "untargeted"
    """What counts as a success: untargeted (any wrong class), random, least-likely, second-likely, class:NAME, given,
    every or every:N."""
    queries: int | None = Field(default=None, ge=1)
    """Most queries for each sample that a black-box attack may spend; null leaves it to the attack."""
    also: tuple[RadiusSpec, ...] = ()
    """Further balls, each of another norm: a sample stands only if it stands in all (the union of norms)."""

    @model_validator(mode="after")
    def _each_norm_once(self) -> ThreatSpec:
        norms = [self.norm, *(other.norm for other in self.also)]
        twice = [norm for norm in norms if norms.count(norm) > 1]
        if twice:
            raise ValueError(f"the norm {twice[0]} is given twice; each has one radius")
        return self

    @model_serializer(mode="wrap")
    def _as_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return content if self.also else {k: v for k, v in content.items() if k != "also"}

    @field_validator("eps", mode="before")
    @classmethod
    def _as_text(cls, eps: object) -> object:
        return str(eps) if isinstance(eps, int | float) and not isinstance(eps, bool) else eps

    @model_validator(mode="after")
    def _has_radius(self) -> ThreatSpec:
        try:
            parse_eps(self.eps, self.norm)
            parse_goal(self.goal)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def radius(self) -> float:
        """The radius as a number."""
        return parse_eps(self.eps, self.norm)


class DataSpec(_Spec):
    """Which samples."""

    samples: int | None = Field(default=None, ge=1)
    """Samples to draw; null takes all."""


class AttackSpec(BaseModel):
    """An attack; every key besides ``id``, ``by_norm`` and ``eot`` is a parameter of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the attack."""
    by_norm: dict[Norm, dict[str, JsonValue]] = {}
    """Parameters that differ where the threat model has that norm: linf, l2, l1 or l0."""
    eot: int = Field(default=1, ge=1)
    """Draws of a random model that are averaged in every gradient (expectation over transformation)."""

    def parameters(self, norm: str) -> dict[str, Any]:
        """Parameters as they were written, for a threat model in ``norm``."""
        own = next((values for name, values in self.by_norm.items() if name == norm), {})
        return {**(self.__pydantic_extra__ or {}), **own}

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        unsaid = {name for name, default in (("by_norm", {}), ("eot", 1)) if getattr(self, name) == default}
        return {name: value for name, value in content.items() if name not in unsaid}


def _by_name(attacks: object) -> object:
    """Attacks of which some are a name alone, as maps."""
    if isinstance(attacks, list):
        return [{"id": item} if isinstance(item, str) else item for item in attacks]
    return attacks


class CurveSpec(_Spec):
    """How the smallest distance of every sample is searched, for the robustness curve."""

    attacks: tuple[AttackSpec, ...] = ()
    """Attacks that seek smallest distances, each on every sample; none: the usual ones of the norm."""
    search: AttackSpec | None = None
    """Attack of fixed radius that each sample's distance is bisected with; null: the usual one."""
    rounds: int = Field(default=8, ge=0)
    """Most radii tried for each sample; 0: no bisection."""

    _names = field_validator("attacks", mode="before")(_by_name)


class GateSpec(_Spec):
    """A bound that a metric of the result must keep."""

    metric: str
    """robust_accuracy or stability (of several norms their union's; of one: robust_accuracy.l2), clean_accuracy,
    coverage, validity, checks.ID or attacks.ID.FIELD."""
    min: FiniteFloat | None = None
    """Least value that passes."""
    max: FiniteFloat | None = None
    """Largest value that passes."""
    level: Literal["error", "warn"] = "error"
    """Whether it decides the exit code."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence of the exact one-sided bounds."""

    @model_validator(mode="after")
    def _has_bound(self) -> GateSpec:
        try:
            check_metric(self.metric)
        except UsageError as error:
            raise ValueError(str(error)) from error
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if self.metric == "validity" or self.metric.startswith("checks."):
            if bounds:
                raise ValueError(f"the gate on {self.metric} takes no min or max: it passes or fails")
            return self
        if not bounds:
            raise ValueError(f"the gate on {self.metric} needs a min or a max")
        share = not self.metric.endswith(".median_distance")
        if share and not all(0 <= bound <= 1 for bound in bounds):
            raise ValueError(f"a bound on {self.metric} is a share between 0 and 1")
        return self


class Profile(_Spec):
    """A profile of ``robaudit scan``."""

    name: str
    """Name."""
    description: str = ""
    """One sentence for ``robaudit profile list``."""
    extends: str | None = None
    """Name or path (relative to this file) of the profile that this one builds on."""
    threat: ThreatSpec = ThreatSpec()
    data: DataSpec = DataSpec()
    attacks: tuple[AttackSpec, ...] = ()
    """Attacks in the order of the cascade; a list replaces the base's."""
    curve: CurveSpec | None = None
    """true, or a map: search each sample's smallest distance too, for accuracy at every radius; null: do not."""
    checks: dict[str, dict[str, JsonValue]] = {}
    """Checks by name with their settings; a list of names is taken too."""
    gates: tuple[GateSpec, ...] = ()
    """Gates; one on the same metric replaces the base's."""

    @field_validator("checks", mode="before")
    @classmethod
    def _checks_by_name(cls, checks: object) -> object:
        if isinstance(checks, list):
            items = [{"id": item} if isinstance(item, str) else item for item in checks]
            if not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items):
                raise ValueError("each check is a name, or a map with an id")
            checks = {item["id"]: {k: v for k, v in item.items() if k != "id"} for item in items}
        if isinstance(checks, dict):
            for name in checks:
                if name not in CHECKS:
                    raise ValueError(f"no check is called {name!r}{did_you_mean(str(name), CHECKS)}")
            checks = {name: settings or {} for name, settings in checks.items()}
        return checks

    _names = field_validator("attacks", mode="before")(_by_name)

    @field_validator("curve", mode="before")
    @classmethod
    def _curve_or_not(cls, curve: object) -> object:
        return ({} if curve else None) if isinstance(curve, bool) else curve

    @model_serializer(mode="wrap")
    def _as_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return content if self.curve is not None else {k: v for k, v in content.items() if k != "curve"}

    def digest(self) -> str:
        """SHA-256 of the content, the same for every way to write it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def merge_gates(base: Sequence[GateSpec], extra: Sequence[GateSpec]) -> tuple[GateSpec, ...]:
    """The base's gates, each replaced by the extra one on the same metric, then the other extra ones."""
    replaced = {gate.metric for gate in extra}
    return (*(gate for gate in base if gate.metric not in replaced), *extra)


def _folder() -> Path:
    """Where the built-in profiles lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "profiles"
    return shipped if shipped.is_dir() else package.parent / "profiles"


def _built_in() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def list_profiles() -> dict[str, str]:
    """Built-in profiles: description by name."""
    return {name: load_profile(name).description for name in _built_in()}


def profile_path(name_or_path: str, base: Path | None = None) -> tuple[Path, bool]:
    """The file of a profile, and whether it is built in.

    Args:
        name_or_path: a built-in name, or a path (with a separator or a YAML suffix).
        base: folder that relative paths start from; default the working directory.

    Raises:
        UsageError: no such profile.
    """
    built_in = _built_in()
    if name_or_path in built_in:
        return built_in[name_or_path], True
    path = (base or Path()) / name_or_path
    if path.is_file():
        return path, False
    if path.suffix in (".yaml", ".yml") or path.name != name_or_path:
        raise UsageError(f"the profile file {str(path)!r} does not exist")
    raise UsageError(f"unknown profile {name_or_path!r}{did_you_mean(name_or_path, built_in)}")


def _merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def _validated(content: dict[str, Any], where: str) -> Profile:
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise refuse(error, where, Profile) from error


def _load(path: Path, chain: tuple[Path, ...]) -> Profile:
    if path.resolve() in chain:
        names = " -> ".join(link.stem for link in (*chain, path))
        raise UsageError(f"{path}: profiles extend each other in a circle ({names})")
    content = read_yaml(path)
    content.setdefault("name", path.stem)
    own = _validated(content, str(path))
    if own.extends is None:
        return own
    base_path, _ = profile_path(own.extends, path.parent)
    base = _load(base_path, (*chain, path.resolve()))
    norm = content.get("threat", {}).get("norm", base.threat.norm)
    if norm != base.threat.norm and "eps" not in content["threat"]:
        raise UsageError(f"{path}: threat.norm differs from that of {own.extends!r}, so threat.eps must be given")
    layer = own.model_dump(mode="json", exclude_unset=True)
    if "curve" in own.model_fields_set and own.curve is None:
        layer["curve"] = None
    merged = _merge(base.model_dump(mode="json"), layer)
    merged["gates"] = [gate.model_dump() for gate in merge_gates(base.gates, own.gates)]
    return _validated(merged, str(path))


def load_profile(
    name_or_path: str,
    base: Path | None = None,
    validate_attack: Callable[[str, dict[str, Any]], object] | None = None,
) -> Profile:
    """A profile with everything that it extends.

    Args:
        name_or_path: a built-in name, or the path of a YAML file.
        base: folder that a relative path starts from; default the working directory.
        validate_attack: called with each attack's id and parameters; raises UsageError to refuse it.

    Raises:
        UsageError: no such profile, or its content is refused: the file, the key, and a suggestion.
    """
    path, _ = profile_path(name_or_path, base)
    profile = _load(path, ())
    if validate_attack is not None:
        for index, attack in enumerate(profile.attacks):
            try:
                for norm in (profile.threat.norm, *attack.by_norm):
                    validate_attack(attack.id, attack.parameters(norm))
            except UsageError as error:
                raise UsageError(f"{path}: attacks.{index}: {error}") from error
    return profile


def profile_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile's YAML."""
    schema = Profile.model_json_schema(mode="validation")
    schema.pop("required", None)  # the name defaults to the file's
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit profile"}
