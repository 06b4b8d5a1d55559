"""The parts of a profile: threat model, data, attacks and curve, each validated; gatespecs.py has the gates."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal, Self

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
from robaudit.audit.result.document import Norm
from robaudit.errors import UsageError
from robaudit.query_rate import parse_query_rate
from robaudit.threat.arrays import TOLERANCE

__all__ = [
    "AnswersSpec",
    "AttackSpec",
    "CurveSpec",
    "DataSpec",
    "RadiusSpec",
    "SetSpec",
    "Spec",
    "ThreatSpec",
    "by_name",
    "parse_eps",
]

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


class AnswersSpec(Spec):
    """What a service tells of its answers, and which inputs it rejects."""

    top: int | None = Field(default=None, ge=1)
    """Classes whose scores are told, the likeliest; null: all."""
    decimals: int | None = Field(default=None, ge=0, le=15)
    """Decimals that scores are rounded to; null: they are told as they are."""
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Standard deviation of the normal noise on each score."""
    reject_below: float | None = Field(default=None, gt=0, le=1)
    """Top probability below which an input is rejected; null: none is."""


class ThreatSpec(_Ball):
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
    answers: AnswersSpec = AnswersSpec()
    """What attacks by queries are told, such as ``{top: 5, decimals: 2}``; what ``reject_below`` rejects is no success
    of any attack."""
    duplicates: Literal["charged", "free"] = "charged"
    """Whether a query identical to an earlier one of its search counts against the budget."""
    rate: str | None = None
    """How fast the service answers an attacker, such as 60/min: for the report alone."""
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
        unsaid = {"answers", "duplicates", "rate"} - self.model_fields_set
        return {k: v for k, v in content.items() if k not in unsaid and (v or k not in ("also", "sets"))}

    @field_validator("rate")
    @classmethod
    def _is_rate(cls, rate: str | None) -> str | None:
        try:
            return rate if rate is None or parse_query_rate(rate) else None
        except UsageError as error:
            raise ValueError(str(error)) from error

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
    """An attack; every key besides ``id``, ``norms``, ``by_norm`` and ``eot`` is a parameter of it."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    id: str
    """Name of the attack, and after a plus sign that of each transform that its gradients are taken through:
    ``mi+di``. A transform's parameters are a map under its own name."""
    norms: tuple[Norm, ...] = ()
    """Norms in which it runs: linf, l2, l1, l0; none: every one that it serves."""
    by_norm: dict[Norm, dict[str, JsonValue]] = {}
    """Parameters that differ where the threat model has that norm: linf, l2, l1 or l0."""
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
        defaults: dict[str, object] = {"norms": (), "by_norm": {}, "eot": 1}
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
