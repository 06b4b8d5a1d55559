"""The parts of a profile: threat model and data, validated; gatespecs.py has the gates, attack_specs.py the attacks."""

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

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.yaml_file import no_switch
from robaudit.audit.result.document import Attacker, Norm
from robaudit.errors import UsageError
from robaudit.query_rate import QueryRate
from robaudit.threat.arrays import TOLERANCE

__all__ = [
    "ALL",
    "CHECKS_SCHEMA",
    "EVERY",
    "USUAL",
    "AnswersSpec",
    "DataSpec",
    "RadiusSpec",
    "SetSpec",
    "Spec",
    "ThreatSpec",
    "most_access",
    "parse_eps",
]

USUAL = "usual"
"""Stands for the checks of robaudit's own that cost little."""
ALL = "all"
"""Stands for all of them but those that are asked for alone."""
EVERY = "every"
"""Stands for these too."""
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
        {"enum": [USUAL, ALL, EVERY]},
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
    access: Attacker = "white-box"
    """The most that the attacker has of the model: white-box (the file), scores, or labels; a surrogate of their own in
    any case."""
    queries: int | None = Field(default=None, ge=1)
    """Most queries for each sample that a black-box attack may spend; null leaves it to the attack."""
    also: tuple[RadiusSpec, ...] = ()
    """Further balls, each of another norm: a sample stands only if it stands in all (the union of norms)."""
    answers: AnswersSpec = AnswersSpec()
    """What attacks by queries are told, such as ``{top: 5, decimals: 2}``; what ``reject_below`` rejects is no success
    of any attack."""
    duplicates: Literal["charged", "free"] = "charged"
    """Whether a query identical to an earlier one of its search counts against the budget."""
    rate: QueryRate | None = None
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
        unsaid |= {name for name in ("also", "sets") if not content.get(name)}
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
