"""The units of a journal, put together attack by attack."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded, AttackPlan, FitRound, PlannedEntry
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.units import FinishedUnit, unit_result
from robaudit.audit.result.sections.base import AttackStatus
from robaudit.engine.ledger import NOTHING_SEEN
from robaudit.engine.units import UnitResult, best_of, cases, sample_of
from robaudit.threat.goals import is_right

__all__ = ["Tally", "TriedAttack", "counts"]


@dataclass(frozen=True)
class TriedAttack:
    """An attack of the plan, with what became of it.

    Args:
        planned: as it was before it ran.
        status: ``reason`` in words and ``cause`` as a code.
        seconds: it took.
    """

    planned: PlannedEntry
    status: AttackStatus
    reason: str | None
    cause: Cause | None
    seconds: float

    @property
    def key(self) -> str:
        """Its id in the plan."""
        return self.planned.id


class Tally:
    """What the journal says of the cascade.

    ``drawn`` samples are the denominator of clean accuracy, those without an answer among them.

    ``attacks`` are those of the plan with what became of them, ``best`` what each did to the samples that the
    ones before it left, or to all if it ran for the curve; ``whole`` is how many stood before the first. A goal may
    leave samples out, which ``left_out`` counts by the reason; ``audited`` are the others, answered correctly or not.
    Where it names several classes for a sample, each is a case of its own; the sample falls with the first that is
    reached.

    ``cases`` count what is attacked of the samples answered correctly, and ``pairs`` for each attack how many it was
    tried on, and how many it reached. ``searches`` are the attacks of the curve, which run on samples that fell too,
    as do fitted attacks and, in a cascade of its own for each access, those for the price of secrecy. ``results`` are
    those of each attack by case. ``fronts`` are the norms of the audit in order,
    ``broken_by`` and ``reached`` the first breach over all of them, of each sample and of each case.
    """

    def __init__(self, journal: Journal, clean: Mapping[int, CleanSample]) -> None:
        self.drawn = sum(map(counts, clean.values()))
        self.correct = [index for index, record in clean.items() if _right(record)]
        self.left_out = Counter(record.left_out for record in clean.values() if record.left_out is not None)
        self.audited = self.drawn - self.left_out.total()
        sought = {case for i in self.correct for case in cases(i, clean[i].goals)}
        self.cases = len(sought)
        units: dict[str, dict[int, list[UnitResult]]] = defaultdict(lambda: defaultdict(list))
        for record in journal.of(FinishedUnit):
            units[record.attack][record.sample].append(unit_result(record))
        outcomes = journal.keyed(AttackEnded, "id")
        fits = journal.keyed(FitRound, "attack")
        plan = journal.last(AttackPlan)
        self.attacks: list[TriedAttack] = []
        self.best: dict[str, dict[int, UnitResult]] = {}
        self.results: dict[str, dict[int, UnitResult]] = {}
        self.pairs: dict[str, tuple[int, int]] = {}
        self.searches: set[str] = set()
        self.fronts: dict[str, NormTally] = {}
        self.whole = len({sample_of(case) for case in sought})
        for planned in plan.attacks if plan else ():
            key = planned.id
            front = self.fronts.setdefault(planned.norm, NormTally())
            if planned.phase in ("fitted", "matrix"):
                results = {case: best_of(found) for case, found in units[key].items() if case in sought}
            elif planned.phase == "secrecy":
                own = front.of_access.setdefault(planned.access, set())
                open_ = sought - own
                results = {case: best_of(found) for case, found in units[key].items() if case in open_}
                own.update(case for case, result in results.items() if result.success)
            elif planned.phase != "cascade":
                self.searches.add(key)
                results = {case: _all_of(found) for case, found in units[key].items() if case in sought}
            else:
                open_ = sought - front.reached.keys()
                results = {case: best_of(found) for case, found in units[key].items() if case in open_}
            reached = [case for case, result in results.items() if result.success]
            front.reached = dict.fromkeys(reached, key) | front.reached
            front.broken_by = {sample_of(case): key for case in reached} | front.broken_by
            front.attacks.append(key)
            self.pairs[key] = len(results), len(reached)
            self.results[key] = results
            self.best[key] = _by_sample(results)
            began = bool(results) or key in fits
            self.attacks.append(_tried(planned, outcomes.get(key), began=began))
        self.reached: dict[int, str] = {}
        self.broken_by: dict[int, str] = {}
        for front in self.fronts.values():
            self.reached = front.reached | self.reached
            self.broken_by = front.broken_by | self.broken_by

    @property
    def standing(self) -> int:
        """Samples that nothing broke, in any norm."""
        return self.whole - len(self.broken_by)


@dataclass
class NormTally:
    """What fell in one norm: by which attack first, each case and each sample; and the cases that fell in the own
    cascade of each access."""

    attacks: list[str] = field(default_factory=list)
    reached: dict[int, str] = field(default_factory=dict)
    broken_by: dict[int, str] = field(default_factory=dict)
    of_access: dict[str, set[int]] = field(default_factory=dict)


def _all_of(results: Sequence[UnitResult]) -> UnitResult:
    """A case's result where the smallest distance was sought, and no unit spared another."""
    return best_of(results, minimal=True)


def _by_sample(results: Mapping[int, UnitResult]) -> dict[int, UnitResult]:
    """One result a sample; of several cases the closest that was reached, with the evaluations of all."""
    grouped: dict[int, list[UnitResult]] = defaultdict(list)
    for case, result in results.items():
        grouped[sample_of(case)].append(result)
    return {sample: found[0] if len(found) == 1 else _merged(found) for sample, found in grouped.items()}


def _merged(found: Sequence[UnitResult]) -> UnitResult:
    def rank(result: UnitResult) -> tuple[bool, float, int]:
        return not result.success, float("inf") if result.distance is None else result.distance, result.unit.sample

    best = min(found, key=rank)
    error = None if best.success else next((r.error for r in found if r.error), None)
    return replace(
        best,
        error=error,
        forwards=sum(result.forwards for result in found),
        backwards=sum(result.backwards for result in found),
        queries=sum(result.queries for result in found),
        judged=sum(result.judged for result in found),
        refused=sum(result.refused for result in found),
        seen=sum((result.seen for result in found), NOTHING_SEEN),
    )


def _tried(planned: PlannedEntry, ended: AttackEnded | None, *, began: bool) -> TriedAttack:
    if planned.status != "ready":
        return TriedAttack(planned, planned.status, planned.reason, None, 0.0)
    if ended is not None:
        return TriedAttack(planned, ended.status, ended.reason, ended.cause, ended.seconds)
    status: Literal["partial", "not run"] = "partial" if began else "not run"
    cause = Cause.WORKER if began else Cause.ENDED
    return TriedAttack(planned, status, sentence(cause), cause, 0.0)


def _right(clean: CleanSample) -> bool:
    """Whether it is answered correctly."""
    answered = clean.prediction is not None and clean.label is not None
    return answered and bool(is_right(clean.prediction, clean.label, clean.rejected))


def counts(clean: CleanSample) -> bool:
    """Whether a drawn sample is in the denominator of every rate.

    Each is, but one that the data gives no label. One without an answer, as its input cannot be read or the model's
    output names no class, is not answered correctly.
    """
    return clean.error is None or not clean.unlabelled
