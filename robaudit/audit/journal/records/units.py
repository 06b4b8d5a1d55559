"""Records of units: what an attack came to on a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from robaudit.audit.journal.records.base import Count, Digest, Pointed, Record
from robaudit.engine.ledger import Seen
from robaudit.engine.units import Unit, UnitResult

__all__ = [
    "AnyUnit",
    "CheckUnit",
    "FinishedUnit",
    "SeenQueries",
    "Sought",
    "check_unit",
    "finished_unit",
    "unit_result",
]


SEEN = ("repeated", "bad", "watched", "flagged", "first_flagged", "burst")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenQueries(Record):
    """What a monitor sees of the queries of a unit, as :class:`robaudit.engine.ledger.Seen` has it."""

    repeated: Count = 0
    bad: Count = 0
    watched: Count = 0
    flagged: Count = 0
    first_flagged: Annotated[int, Field(ge=1)] | None = None
    burst: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyUnit(Pointed):
    """A finished unit, as :class:`robaudit.engine.units.UnitResult` has it; ``sample`` is the number of its case."""

    attack: str
    sample: Count
    restart: Count
    aim: Count
    success: bool
    prediction: int
    distance: float | None
    forwards: Count
    backwards: Count
    queries: Count
    judged: Count
    refused: Count
    seen: SeenQueries
    error: str | None
    share: float | None = None

    @property
    def unit(self) -> Unit:
        """Which one."""
        return Unit(self.restart, self.aim, self.sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought(Record):
    """What a unit of a search for the smallest distance adds: its success may lie outside of the ball.

    ``verified``: the judge confirmed it, at whatever distance. ``radius``: at which a bisection searched.
    """

    verified: bool
    radius: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedUnit(AnyUnit):
    """A finished unit of an attack; ``sought``: where it ran for the smallest distance."""

    kind: Literal["unit"] = "unit"
    sought: Sought | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUnit(AnyUnit):
    """A finished unit of an attack that a check ran; ``job`` is the digest of the attack and its threat model."""

    kind: Literal["check unit"] = "check unit"
    check: str
    job: Digest


def finished_unit(attack: str, result: UnitResult, sought: Sought | None = None) -> FinishedUnit:
    """The record of a finished unit; the point of a success is passed to :meth:`Journal.append` beside it."""
    return FinishedUnit(**_content(attack, result), sought=sought)


def check_unit(check: str, job: str, attack: str, result: UnitResult) -> CheckUnit:
    """The same of a unit of an attack that a check ran."""
    return CheckUnit(**_content(attack, result), check=check, job=job)


def _content(attack: str, result: UnitResult) -> dict[str, Any]:
    """What both hold of a result."""
    unit = result.unit
    return {
        "attack": attack,
        "sample": unit.sample,
        "restart": unit.restart,
        "aim": unit.aim,
        "success": result.success,
        "prediction": result.prediction,
        "distance": result.distance,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "queries": result.queries,
        "judged": result.judged,
        "refused": result.refused,
        "seen": SeenQueries(**{name: getattr(result.seen, name) for name in SEEN}),
        "error": result.error,
        "share": result.share,
    }


def unit_result(record: AnyUnit, point: NDArray[Any] | None = None) -> UnitResult:
    """The result that a record holds; its point is left on disk, unless it is given."""
    return UnitResult(
        record.unit,
        record.success,
        record.prediction,
        record.distance,
        record.forwards,
        record.backwards,
        record.queries,
        record.judged,
        record.refused,
        point,
        record.error,
        Seen(**{name: getattr(record.seen, name) for name in SEEN}),
        record.share,
    )
