"""Units of work and their results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from robaudit.attacks.base import SlotAttack
from robaudit.engine.ledger import NOTHING_SEEN, Seen
from robaudit.errors import FinalError, RobauditError
from robaudit.threat.model import Goal
from robaudit.threat.random import key_of

__all__ = [
    "Sample",
    "SampleSource",
    "Sink",
    "Unit",
    "UnitResult",
    "best_of",
    "by_rank",
    "case_of",
    "cases",
    "in_cohorts",
    "loaded",
    "plan_units",
    "sample_of",
    "still_standing",
]

SAMPLE_BITS = 40


def case_of(sample: int, goal: int) -> int:
    """Number of a case, a sample with one of its several goals; a sample with one at most keeps its own number."""
    return ((goal + 1) << SAMPLE_BITS) | sample


def sample_of(case: int) -> int:
    """Position in the data of a case's sample."""
    return case & ((1 << SAMPLE_BITS) - 1)


@dataclass(frozen=True)
class Sample:
    """One sample of the audit.

    Args:
        index: position in the data; of a sample with several goals the number of the case.
        u: [*shape] float array in u-space.
        label: reference class.
        clean: [K] scores of the file at ``u``.
        digest: of the content; keys its random numbers.
        goal: class to reach in a targeted audit, or -1.
        eps: its own radius; None: that of the threat model.
    """

    index: int
    u: NDArray[Any]
    label: int
    clean: NDArray[Any]
    digest: str
    goal: int = -1
    eps: float | None = None


@dataclass(frozen=True, order=True)
class Unit:
    """(sample, restart, aim): the lowest (restart, aim) that succeeds wins its sample.

    Where a sample has several goals, each case of it is a sample of its own here.
    """

    restart: int
    aim: int
    sample: int

    @property
    def rank(self) -> tuple[int, int]:
        """Order among the units of a sample."""
        return self.restart, self.aim

    def key(self, seed: int, digest: str, attack: str) -> int:
        """Key of the unit's random numbers."""
        return key_of(seed, digest, attack, self.restart, self.aim)


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit.

    Args:
        unit: which.
        success: the judge confirmed an admissible adversarial example.
        prediction: the file's class on the best point, -1 where there is none.
        distance: of the best fooling point from the sample (outside the ball too, for minimal-norm
            attacks), in units of the domain's width; None where nothing fools.
        forwards, backwards, queries: model evaluations.
        judged: candidates shown to the judge; ``refused``: those that it denied.
        point: [*shape] the best fooling point in u-space, None where nothing fools.
        error: why the unit ended early, or None.
        seen: what a monitor sees of its queries.
        share: of a random file, the share of the draws that fooled at ``point``: of a unit without success at the best
            point that was denied. None: the file is not random, or no draw fooled anywhere.
    """

    unit: Unit
    success: bool
    prediction: int = -1
    distance: float | None = None
    forwards: int = 0
    backwards: int = 0
    queries: int = 0
    judged: int = 0
    refused: int = 0
    point: NDArray[Any] | None = field(default=None, compare=False)
    error: str | None = None
    seen: Seen = NOTHING_SEEN
    share: float | None = None


SampleSource = Callable[[int], Sample]
Sink = Callable[[UnitResult], None]


def loaded(units: Iterable[Unit], samples: SampleSource, sink: Sink) -> list[tuple[Unit, Sample]]:
    """Units with their samples; what cannot be read costs its unit alone, whose result goes to ``sink``."""
    found = []
    for unit in units:
        try:
            found.append((unit, samples(unit.sample)))
        except FinalError:
            raise
        except RobauditError as error:
            sink(UnitResult(unit, False, error=str(error)))
    return found


def plan_units(attack: SlotAttack[Any], goal: Goal, samples: Sequence[int], classes: int) -> Iterator[Unit]:
    """All units of an attack, lowest rank first, so that a success releases the most work."""
    aims = 1
    if goal is Goal.UNTARGETED and attack.unit_aims:
        aims = min(attack.unit_aims, classes - 1)
    for restart in range(attack.unit_restarts):
        for aim in range(aims):
            for sample in samples:
                yield Unit(restart, aim, sample)


def still_standing(unit: Unit, won: Mapping[int, Unit]) -> bool:
    """Whether no lower unit of its sample has succeeded."""
    return unit.sample not in won or unit <= won[unit.sample]


def by_rank(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Units of one restart and aim at a time, lowest rank first."""
    for _, group in itertools.groupby(sorted(units), key=lambda unit: unit.rank):
        yield list(group)


def in_cohorts(digests: Mapping[Unit, str], size: int) -> list[list[Unit]]:
    """Units split into the fewest cohorts of at most ``size``, all equally large to within one.

    Members follow from the samples' content, ``digests``, and not from their order.
    """
    ordered = sorted(digests, key=lambda unit: (digests[unit], unit))
    count = -(-len(ordered) // size)
    return [ordered[i * len(ordered) // count : (i + 1) * len(ordered) // count] for i in range(count)]


def best_of(results: Sequence[UnitResult], *, minimal: bool = False) -> UnitResult:
    """A sample's result: its lowest successful unit, else its closest fooling point, else its last unit.

    Evaluations are summed over the units up to the winner: work that ran beside it and was released
    depends on the batch size and is not the attack's cost.

    Args:
        results: of the sample's units.
        minimal: the smallest distance was sought, for which no unit is released: the nearest success is the
            sample's, and the evaluations of all units count.
    """
    ordered = sorted(results, key=lambda r: r.unit)
    winner = next((r for r in ordered if r.success), None)
    counted = ordered if minimal or winner is None else [r for r in ordered if r.unit <= winner.unit]
    if minimal and winner is not None:
        winner = min((r for r in ordered if r.success), key=_nearness)
    if winner is None:
        fooling = [r for r in ordered if r.distance is not None]
        lucky = [r for r in ordered if r.share is not None]
        winner = min(fooling, key=_nearness) if fooling else max(lucky, key=_luck) if lucky else ordered[-1]
    total = {
        name: sum(getattr(r, name) for r in counted)
        for name in ("forwards", "backwards", "queries", "judged", "refused")
    }
    errors = [r.error for r in counted if r.error]
    return UnitResult(
        winner.unit,
        winner.success,
        winner.prediction,
        winner.distance,
        point=winner.point,
        error=None if winner.success or not errors else errors[0],
        seen=sum((r.seen for r in counted), NOTHING_SEEN),
        share=winner.share,
        **total,
    )


def _luck(result: UnitResult) -> float:
    return result.share or 0.0


def _nearness(result: UnitResult) -> tuple[float, Unit]:
    return math.inf if result.distance is None else result.distance, result.unit


def cases(index: int, goals: Sequence[int] | None) -> dict[int, int]:
    """What is attacked of a sample: the class to reach, -1 for any, by number of the case.

    One case has the sample's own number; of several each has one of its own (:func:`case_of`).
    """
    if goals is None:
        return {index: -1}
    if len(goals) == 1:
        return {index: goals[0]}
    return {case_of(index, goal): goal for goal in goals}
