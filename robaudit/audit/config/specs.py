"""The parts of a profile: threat model, data, attacks and curves, each validated; gatespecs.py has the gates."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from robaudit.attacks.names import canonical
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.yaml_file import no_switch
from robaudit.audit.result.document import Attacker, Goal, Norm
from robaudit.errors import UsageError
from robaudit.threat.arrays import TOLERANCE

__all__ = [
    "CHECKS_SCHEMA",
    "USUAL",
    "AttackSpec",
    "CurveSpec",
    "DataSpec",
    "RadiusSpec",
    "SecrecySpec",
    "SetSpec",
    "Spec",
    "ThreatSpec",
    "by_name",
    "most_access",
    "parse_eps",
]

USUAL = "usual"
"""Stands for all checks of robaudit's own."""
CHECKS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "object"}, {"type": "null"}]}},
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
                ]
            },
        },
        {"const": USUAL},
    ]
}
SMALLEST = 10 * TOLERANCE
"""Least radius in L∞, L2 and L1, some 80 steps of float32 near 1: below it the tolerance is what would be measured."""


def parse_eps(text: str | float, norm: str = "linf") -> float:
    """The radius that a number or a fraction such as ``8/255`` names.

    Raises:
        UsageError: no number, not finite, not above 0, too small for the tolerance of distances,
            above 1 in L-infinity, or no whole number in L0.
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
    if norm != "l0" and value < SMALLEST:
        raise UsageError(
            f"eps {text} is too small to be judged: distances are measured with a tolerance of {TOLERANCE:g} of the "
            f"domain's width, so that eps is at least {SMALLEST:g} in L∞, L2 and L1"
        )
    if norm == "linf" and value > 1:
        hint = f"; did you mean {value:g}/255?" if value <= 255 else ""
        raise UsageError(f"eps is a fraction of the domain's width, at most 1 in L∞, not {text}{hint}")
    if norm == "l0" and value != int(value):
        raise UsageError(f"eps in L0 counts features and must be a whole number, not {text}")
    return value


def most_access(allowed: Attacker, *, gradient: bool, scores: bool) -> Attacker:
    """The most that an attacker has of a model, of what is allowed to them and the model gives: labels always."""
    if allowed == "white-box" and gradient:
        return "white-box"
    return "scores" if allowed != "labels" and scores else "labels"


class Spec(BaseModel):
    """A part of a profile: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    _numbers = field_validator("*", mode="wrap")(no_switch)


class _Ball(Spec):
    norm: Norm
    eps: str

    @field_validator("eps", mode="before")
    @classmethod
    def _as_text(cls, eps: object) -> object:
        return str(eps) if isinstance(eps, int | float) and not isinstance(eps, bool) else eps

    @model_validator(mode="after")
    def _has_radius(self) -> Self:
        try:
            parse_eps(self.eps, self.norm)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def radius(self) -> float:
        """The radius as a number."""
        return parse_eps(self.eps, self.norm)


class RadiusSpec(_Ball):
    """A further ball, of another norm."""

    norm: Norm
    """Norm of the perturbation: linf, l2, l1 or l0."""
    eps: str
    """Radius as a fraction of the domain's width, a number or a fraction (l0: features)."""


class SetSpec(BaseModel):
    """A perturbation set; every key besides ``id`` is a parameter of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the set, such as mask."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters, as they were written."""
        return dict(self.__pydantic_extra__ or {})


class ThreatSpec(_Ball):
    """What the attacker may do."""

    norm: Norm = "linf"
    """Norm of the perturbation: linf, l2, l1 or l0."""
    eps: str = "8/255"
    """Radius as a fraction of the domain's width, a number or a fraction such as 8/255 (l0: features)."""
    goal: str = "untargeted"
    """What counts as a success: untargeted (any wrong class), random, least-likely, second-likely, class:NAME, given,
    every or every:N."""
    access: Attacker = "white-box"
    """The most that the attacker has of the model: white-box (the file), scores, or labels; a surrogate of their own in
    any case."""
    queries: int | None = Field(default=None, ge=1)
    """Most queries for each sample that a black-box attack may spend; null leaves it to the attack."""
    also: tuple[RadiusSpec, ...] = ()
    """Further balls, each of another norm: a sample stands only if it stands in all (the union of norms)."""

    sets: tuple[SetSpec, ...] = ()
    """What may be changed, beside the ball: a map a set, such as ``{id: mask, file: sticker.png}``, whose paths are
    relative to this file; a perturbation lies in all of them."""

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
        unsaid = {name for name in ("also", "sets") if not content.get(name)}
        unsaid |= {"access"} if self.access == "white-box" else set()
        return {name: value for name, value in content.items() if name not in unsaid}

    @model_validator(mode="after")
    def _has_goal(self) -> ThreatSpec:
        try:
            parse_goal(self.goal)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self


class DataSpec(Spec):
    """Which samples."""

    samples: int | None = Field(default=None, ge=1)
    """Samples to draw; null takes all."""


class AttackSpec(BaseModel):
    """An attack; every key that is not listed here is a parameter of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the attack, and after a plus sign that of each transform that its gradients are taken through:
    ``mi+di``. A transform's parameters are a map under its own name."""
    norms: tuple[Norm, ...] = ()
    """Norms in which it runs: linf, l2, l1, l0; none: every one that it serves."""
    by_norm: dict[Norm, dict[str, JsonValue]] = {}
    """Parameters that differ where the threat model has that norm: linf, l2, l1 or l0."""
    goals: tuple[Goal, ...] = ()
    """Goals for which it runs: untargeted, targeted; none: every one that it serves."""
    when: Attacker | None = None
    """Runs only where this is the most that the attacker has of the model: white-box, scores or labels."""
    eot: int = Field(default=1, ge=1)
    """Draws of a random model, and of the transforms, that are averaged in every gradient (expectation over
    transformation)."""
    _numbers = field_validator("*", mode="wrap")(no_switch)
    _short = field_validator("id")(canonical)

    def parameters(self, norm: str) -> dict[str, Any]:
        """Parameters as they were written, for a threat model in ``norm``; those of a transform are one map."""
        own = next((values for name, values in self.by_norm.items() if name == norm), {})
        return {**(self.__pydantic_extra__ or {}), **own}

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        defaults: dict[str, object] = {"norms": (), "by_norm": {}, "goals": (), "when": None, "eot": 1}
        unsaid = {name for name, default in defaults.items() if getattr(self, name) == default}
        return {name: value for name, value in content.items() if name not in unsaid}


def by_name(attacks: object) -> object:
    """Attacks of which some are a name alone, as maps."""
    if isinstance(attacks, list):
        return [{"id": item} if isinstance(item, str) else item for item in attacks]
    return attacks


class CurveSpec(Spec):
    """How the smallest distance of every sample is searched, for the robustness curve."""

    attacks: tuple[AttackSpec, ...] = ()
    """Attacks that seek smallest distances, each on every sample; none: the usual ones of the norm."""
    search: AttackSpec | None = None
    """Attack of fixed radius that each sample's distance is bisected with; null: the usual one."""
    rounds: int = Field(default=8, ge=0)
    """Most radii tried for each sample; 0: no bisection."""

    _names = field_validator("attacks", mode="before")(by_name)


class SecrecySpec(Spec):
    """How the price of secrecy is measured: for each access a cascade of its own, on every attacked sample."""

    labels: tuple[AttackSpec, ...] | None = None
    """Attacks with labels alone, in order; null: the usual ones of the norm, none: that access is left out."""
    scores: tuple[AttackSpec, ...] | None = None
    """Attacks with scores, likewise."""
    transfer: tuple[AttackSpec, ...] | None = None
    """Attacks made on surrogates, likewise."""
    queries: int = Field(default=2000, ge=1)
    """Most queries for each sample with labels, and with scores; the attacks of an access share them equally."""

    _names = field_validator("labels", "scores", "transfer", mode="before")(by_name)
