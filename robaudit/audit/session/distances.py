"""The smallest verified distance of every sample: minimal-norm attacks on all of them, then bisection of each.

A distance is verified when the judge confirmed the file's wrong answer on a point in the box; every attack of the
audit counts. No unit of the search spares another, as each may come nearer. A sample's radius of the bisection depends
on its own distances alone, so that no outcome depends on the batch, the order of samples or interruptions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from robaudit.audit.journal.distances import smallest_distances, verified_distance
from robaudit.audit.journal.events import AttackFinished
from robaudit.audit.journal.records.units import FinishedUnit, Sought, finished_unit, unit_result
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.session.cascade import Attempt, Cascade
from robaudit.engine.units import Unit, UnitResult
from robaudit.threat.arrays import TOLERANCE, widest
from robaudit.threat.norms import Norm

__all__ = ["DistanceSearch", "next_radius"]

PRECISION = 0.02
"""A bracket this narrow, as a share of the distance, is not searched further."""
SHARES = (1 - PRECISION, 0.9, 0.7, 0.5)
"""First radius tried, as a share of the distance, and those after one, two and more successes below."""


def next_radius(distance: float | None, floor: float, successes: int, *, start: float, most: float) -> float | None:
    """The radius to search next, or None where there is nothing more to gain.

    Args:
        distance: smallest verified one, or None.
        floor: largest radius that the bisection failed at, 0: none.
        successes: of the bisection so far.
        start: half the radius to begin with where no distance is known.
        most: the widest that makes sense.
    """
    if distance is None:
        wider = min(2 * max(floor, start), most)
        return wider if wider > floor else None
    if distance - floor <= PRECISION * distance * (1 + 1e-9):
        return None
    if floor == 0:
        return distance * SHARES[min(successes, len(SHARES) - 1)]
    return (floor + distance) / 2


class DistanceSearch:
    """Runs after the cascade, on every sample that was answered correctly, fallen or not.

    Args:
        cascade: that has run; what is found within ε counts as broken there too.
        minimal: attacks that seek the smallest distance.
        search: attack with a fixed radius for the bisection; None: no bisection.
        rounds: most radii that it tries for each sample.
    """

    def __init__(self, cascade: Cascade, minimal: list[Planned], search: Planned | None, rounds: int) -> None:
        self.cascade = cascade
        self.minimal = minimal
        self.search = search
        self.rounds = rounds
        self.samples = cascade.asked(cascade.store.standing())
        self.most = widest(cascade.threat.norm, math.prod(cascade.executor.shape))
        keys = [p.key for p in (*cascade.plan, *minimal, *([search] if search else []))]
        known = smallest_distances(cascade.journal, frozenset(keys), cascade.threat.eps)
        self._nearest = {case: distance for case, (distance, _) in known.items()}
        self._records: dict[str, dict[Unit, FinishedUnit]] = {}
        for record in cascade.journal.of(FinishedUnit):
            self._records.setdefault(record.attack, {})[record.unit] = record

    def run(self) -> None:
        """All of it, as far as it is not done."""
        for planned in [*self.minimal, *([self.search] if self.search else [])]:
            if self.cascade.stop():
                return
            if planned.status != "ready":
                left = len(self.cascade.store.standing(self.cascade.broken_by.__contains__))
                self.cascade.observer(AttackFinished(planned.key, planned.status, 0, 0, left, planned.reason or ""))
            elif planned is self.search:
                self._bisect(planned)
            else:
                self._seek(planned)

    def _units(self, planned: Planned, samples: list[int]) -> tuple[Unit, ...]:
        return self.cascade.executor.units(planned.attack, self.cascade.threat, samples)

    def _seek(self, planned: Planned) -> None:
        """One minimal-norm attack, with the whole box to move in."""
        cascade = self.cascade
        units = self._units(planned, self.samples)
        attempt = _Seeking(planned, len(units), cascade, self._nearest)
        earlier = self._records.get(planned.key, {})
        for record in earlier.values():
            attempt.count(unit_result(record))
        threat = replace(cascade.threat, eps=self.most, minimal=True)

        job = replace(planned.job(threat, units), finished=frozenset(earlier))

        def run() -> bool:
            return cascade.executor.run(job, cascade.store, attempt.take)

        attempt.carry_out(run, self.samples)
        attempt.settle()

    def _bisect(self, planned: Planned) -> None:
        """Try each sample at radii of its own; the restart of a unit is the number of its round."""
        most = len(self._units(planned, self.samples)) * self.rounds
        attempt = _Seeking(planned, most, self.cascade, self._nearest)
        brackets = self._brackets(planned.key)

        def run() -> bool:
            return all(self._round(planned, number, brackets, attempt) for number in range(self.rounds))

        attempt.carry_out(run, ())
        attempt.settle()

    def _brackets(self, search: str) -> dict[int, _Bracket]:
        """What is known of each sample before the bisection."""
        cascade = self.cascade
        keys = frozenset(p.key for p in [*cascade.plan, *self.minimal]) - {search}
        found = smallest_distances(cascade.journal, keys, cascade.threat.eps)
        return {sample: _Bracket(found[sample][0] if sample in found else None) for sample in self.samples}

    def _round(self, planned: Planned, number: int, brackets: dict[int, _Bracket], attempt: _Seeking) -> bool:
        """One radius for each sample that has something to gain; False if stopped."""
        cascade = self.cascade
        whole = cascade.threat.norm is Norm.L0
        radii: dict[int, float] = {}
        for sample, bracket in brackets.items():
            radius = bracket.next(cascade.threat.eps, self.most, whole=whole)
            if radius is not None:
                radii[sample] = radius
        first = (unit for unit in self._units(planned, list(radii)) if unit.restart == 0)
        units = tuple(replace(unit, restart=number) for unit in first)
        earlier = {
            unit: record
            for unit, record in self._records.get(planned.key, {}).items()
            if unit.restart == number and record.sought is not None and radii.get(unit.sample) == record.sought.radius
        }
        for record in earlier.values():
            attempt.count(unit_result(record))
            brackets[record.sample].told(verified_distance(record, cascade.threat.eps))

        def sink(result: UnitResult) -> None:
            record = attempt.take_at(result, radii[result.unit.sample])
            brackets[result.unit.sample].told(verified_distance(record, cascade.threat.eps))

        job = planned.job(replace(cascade.threat, minimal=True), units)
        job = replace(job, radii=radii, finished=frozenset(earlier))
        complete = cascade.executor.run(job, cascade.store, sink)
        for sample, radius in radii.items():
            brackets[sample].settle(radius)
        return complete


@dataclass
class _Bracket:
    """What is known of a sample: smallest verified distance, and where the bisection failed.

    ``found`` is the smallest distance of the round at work.
    """

    distance: float | None
    floor: float = 0.0
    successes: int = 0
    found: float | None = None

    def next(self, eps: float, most: float, *, whole: bool) -> float | None:
        """The radius to try; of distances that are ``whole`` numbers one below the smallest at most."""
        radius = next_radius(self.distance, self.floor, self.successes, start=eps / 2, most=most)
        if radius is None or not whole:
            return radius
        radius = float(math.floor(radius if self.distance is None else min(radius, self.distance - 1)))
        return radius if radius > self.floor else None

    def told(self, distance: float | None) -> None:
        """Take note of a unit's adversarial example, if it found one."""
        if distance is not None:
            self.found = distance if self.found is None else min(distance, self.found)

    def settle(self, radius: float) -> None:
        """The round at ``radius`` is over."""
        if self.found is None:
            self.floor = radius
        else:
            self.distance = self.found if self.distance is None else min(self.found, self.distance)
            self.successes += 1
        self.found = None


class _Seeking(Attempt):
    """An attempt whose successes may lie at any distance; those within ε count in the cascade.

    Args:
        planned: the attack.
        units: the most it can need.
        cascade: that it follows.
        nearest: the smallest verified distance of each case so far; kept up to date.
    """

    def __init__(self, planned: Planned, units: int, cascade: Cascade, nearest: dict[int, float]) -> None:
        super().__init__(planned, units, cascade.journal, cascade.observer)
        self._cascade = cascade
        self._nearest = nearest

    def take(self, result: UnitResult) -> None:
        """Journal and count a unit that finished now."""
        self.take_at(result, None)

    def take_at(self, result: UnitResult, radius: float | None) -> FinishedUnit:
        """The same of a unit with a radius of its own; the point is kept where it breaks a sample that stood, or is
        nearer than any before it."""
        eps = self._cascade.threat.eps
        within = result.success and result.distance is not None and result.distance <= eps + TOLERANCE
        counted = replace(result, success=within)
        record = finished_unit(self.planned.key, counted, Sought(verified=result.success, radius=radius))
        case, distance = result.unit.sample, verified_distance(record, eps)
        keep = within and case not in self._cascade.broken_by
        if distance is not None and distance < self._nearest.get(case, math.inf):
            self._nearest[case], keep = distance, True
        self.journal.append(record, result.point if keep else None)
        self.count(counted)
        return record

    def settle(self) -> None:
        """Tell the cascade what fell, and close."""
        broken = self._cascade.broken_by
        newly = [sample for sample in self.won if sample not in broken]
        broken.update(dict.fromkeys(newly, self.planned.key))
        self.close(len(newly), len(self._cascade.store.standing(broken.__contains__)))
