"""The cascade: each attack runs on what the attacks before it left standing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from robaudit.attacks.fitted import Artefact, FittedSearch
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.events import AttackFinished, AttackStarted, Note, Observer, UnitsFinished
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.base import Outcome
from robaudit.audit.journal.records.units import FinishedUnit, finished_unit, unit_result
from robaudit.audit.plan.attacks import Planned, needs_surrogate
from robaudit.audit.session.pilot import Pilot
from robaudit.audit.session.samples import SampleStore
from robaudit.audit.session.shared import Shared
from robaudit.engine.executor import Executor
from robaudit.engine.job import Job
from robaudit.engine.units import Unit, UnitResult, sample_of
from robaudit.errors import AuditError, FinalError, RobauditError
from robaudit.threat.model import ThreatModel

__all__ = ["Attempt", "Cascade", "one_line"]

EVENT_SECONDS = 0.2


class Cascade:
    """Runs the attacks of a plan; knows which attack broke which sample, or case of one with several goals.

    Args:
        plan: attacks in order.
        threat: the threat model.
        store: the samples.
        executor: runs the attacks.
        shared: its journal takes every finished unit, and holds those of earlier sessions; ``stop`` ends the cascade
            early, and attacks that were not begun have no record. Whether an attack could be carried out is decided on
            samples that are not lost.
        fitter: fits what fitted attacks need.
        surrogates: makes those that transfer attacks need.
    """

    def __init__(
        self,
        plan: list[Planned],
        threat: ThreatModel,
        store: SampleStore,
        executor: Executor,
        shared: Shared,
        fitter: Fits | None = None,
        surrogates: Makes | None = None,
    ) -> None:
        self.plan = plan
        self.threat = threat
        self.store = store
        self.executor = executor
        self.journal = shared.journal
        self.observer = shared.observer
        self.stop = shared.stop
        self.lost = shared.care.lost
        self._fitter = fitter
        self._surrogates = surrogates
        self.broken_by: dict[int, str] = {}
        self._earlier: dict[str, dict[Unit, UnitResult]] = {}
        for record in self.journal.of(FinishedUnit):
            result = unit_result(record)
            self._earlier.setdefault(record.attack, {})[result.unit] = result

    def most_units(self, planned: Planned) -> int:
        """Units of an attack if no sample falls before."""
        if planned.status != "ready":
            return 0
        return len(self.executor.units(planned.attack, self.threat, self.store.standing()))

    def run(self) -> None:
        """All attacks in order."""
        for planned in self.plan:
            if self.stop():
                return
            if planned.status != "ready":
                self._recall(planned)
            elif self._is_vain(planned):
                self._pass_over(planned)
            else:
                self._attack(planned)

    def further(self, plan: Sequence[Planned], surrogates: Makes) -> None:
        """More attacks on what stands, with their surrogates."""
        self._surrogates = surrogates
        begun, self.plan = self.plan, list(plan)
        self.run()
        self.plan = [*begun, *plan]

    def _is_vain(self, planned: Planned) -> bool:
        """Whether it waits for a success of an attack that came to its end without one."""
        if planned.if_broke is None or planned.if_broke in self.broken_by.values():
            return False
        ended = self.journal.last(AttackEnded, id=planned.if_broke)
        return ended is not None and ended.status in ("done", "skipped")

    def _pass_over(self, planned: Planned) -> None:
        reason = f"{planned.if_broke} broke nothing"
        self.journal.append(AttackEnded(id=planned.key, status="skipped", reason=reason, cause=None, seconds=0.0))
        self.observer(AttackFinished(planned.key, "skipped", 0, 0, self._left(), reason))

    def _attack(self, planned: Planned) -> None:
        fitted = isinstance(planned.attack, FittedSearch)  # runs on what fell too, as its own rate is asked for
        standing = self.store.standing() if fitted else self.store.standing(self.broken_by.__contains__)
        stand = set(standing)
        units = self.executor.units(planned.attack, self.threat, standing)
        earlier = {u: r for u, r in self._earlier.get(planned.key, {}).items() if u.sample in stand}
        attempt = Attempt(planned, len(units), self.journal, self.observer)
        for result in earlier.values():
            attempt.count(result)

        job = replace(planned.job(self.threat, units), won=dict(attempt.won), finished=frozenset(earlier))
        tried = self.asked(standing)
        pilot = Pilot.of(tried, self.store, planned.pilot)

        def run() -> bool:
            ready = self._with_surrogates(planned, job)
            if ready is None:
                return False
            if pilot is not None:
                whole = pilot.run(ready, lambda part, sink: self.executor.run(part, self.store, sink), attempt.take)
                attempt.reason = pilot.ended
                return whole
            if not isinstance(planned.attack, FittedSearch):
                return self.executor.run(ready, self.store, attempt.take)
            if self._fitter is None:
                raise AuditError("there is nothing to fit it on")
            artefact = self._fitter.artefact(planned, planned.attack, self.threat)
            if artefact is None:
                return False
            attempt.begin()
            return self.executor.run(replace(ready, artefact=artefact), self.store, attempt.take)

        attempt.carry_out(run, tried if pilot is None else pilot.cases)
        before = self._left()
        self._fell(attempt.won, planned.key)
        attempt.close(before - self._left(), self._left())

    def _with_surrogates(self, planned: Planned, job: Job) -> Job | None:
        """The job on the surrogates that there are; None where the audit was told to stop before they were made."""
        if not needs_surrogate(planned.attack) or self._surrogates is None or len(job.finished) == len(job.units):
            return job
        members = self._surrogates.ready(planned.how.members, self.store)
        return None if members is None else replace(job, how=replace(job.how, members=members))

    def _recall(self, planned: Planned) -> None:
        """An attack that does not run, or no further than it came: what it broke before counts."""
        fitted = isinstance(planned.attack, FittedSearch)
        stand = set(self.store.standing() if fitted else self.store.standing(self.broken_by.__contains__))
        before = self._left()
        units = self._earlier.get(planned.key, {}).values()
        won = [result.unit.sample for result in units if result.success and result.unit.sample in stand]
        self._fell(won, planned.key)
        left = self._left()
        counts = len(set(won)), before - left, left
        self.observer(AttackFinished(planned.key, planned.status, *counts, planned.reason or ""))

    def _fell(self, cases: Iterable[int], key: str) -> None:
        """Cases that an attack broke; those that fell before stay with the attack that broke them."""
        self.fell(dict.fromkeys(cases, key))

    def fell(self, by: Mapping[int, str]) -> None:
        """Cases that attacks of another cascade broke; those that fell before stay as they are."""
        for case, key in by.items():
            self.broken_by.setdefault(case, key)

    def asked(self, cases: Sequence[int]) -> list[int]:
        """Cases without those whose sample the model does not answer."""
        return [case for case in cases if sample_of(case) not in self.lost]

    def _left(self) -> int:
        """Samples that no attack broke; with several goals, in none of their cases."""
        fallen = set(map(sample_of, self.broken_by))
        return len(set(map(sample_of, self.store.standing())) - fallen)


class Fits(Protocol):
    """Fits artefacts."""

    def artefact(self, planned: Planned, attack: FittedSearch[Any], threat: ThreatModel) -> Artefact | None:
        """The artefact of an attack of the plan; None where the audit was told to stop."""
        ...


class Makes(Protocol):
    """Makes surrogates."""

    def ready(self, names: Sequence[str], store: SampleStore) -> tuple[str, ...] | None:
        """Those that are there of some surrogates, or of all; None where the audit was told to stop.

        Raises:
            AuditError: there is none.
        """
        ...


class Attempt:
    """An attack of the plan at work: what its units come to is counted, journaled and shown.

    ``won`` is the lowest successful unit of each sample that fell; ``reason`` what there is to say of one that is done.

    Args:
        planned: the attack.
        units: the most it can need.
        journal: takes every finished unit, and what became of the attack.
        observer: notified of progress.
    """

    def __init__(self, planned: Planned, units: int, journal: Journal, observer: Observer) -> None:
        self.planned = planned
        self.journal = journal
        self.observer = observer
        self.won: dict[int, Unit] = {}
        self.reason: str | None = None
        self._lost: dict[int, str] = {}
        self._outcome: tuple[Outcome, str | None, Cause | None] = ("done", None, None)
        self._progress = _Progress(planned.key, units, observer)
        known = journal.last(AttackEnded, id=planned.key)
        self._before = known.seconds if known else 0.0
        self._start = time.perf_counter()
        self._units = units
        self.begin()

    def begin(self) -> None:
        """Tell that the units begin."""
        self.observer(AttackStarted(self.planned.key, self._units, str(self.planned.attack.access)))

    def take(self, result: UnitResult) -> None:
        """Journal and count a unit that finished now."""
        kept = result.success or result.share is not None
        self.journal.append(finished_unit(self.planned.key, result), result.point if kept else None)
        self.count(result)

    def count(self, result: UnitResult) -> None:
        """Count a unit, of this session or of an earlier one."""
        unit = result.unit
        if result.success:
            self.won[unit.sample] = min(unit, self.won.get(unit.sample, unit))
        elif result.error:
            self._lost[unit.sample] = result.error
        self._progress.add(result)

    def carry_out(self, run: Callable[[], bool], tried: Sequence[int]) -> None:
        """Run the units of the samples ``tried``; ``run`` says whether all came to their end."""
        try:
            if not run():
                self._outcome = "partial", sentence(Cause.INTERRUPTED), Cause.INTERRUPTED
            elif tried and not self.won and set(tried) <= self._lost.keys():  # what it could not try is not robust
                self._outcome = "failed", f"{sentence(Cause.UNTRIED)}: {self._lost[tried[0]]}", Cause.UNTRIED
            else:
                self._outcome = "done", self.reason, None
        except FinalError:
            raise
        except Exception as error:  # one failing attack costs that attack alone
            self._outcome = "failed", one_line(error), None
            self.observer(Note(f"the attack {self.planned.key} failed: {self._outcome[1]}", "error"))

    def close(self, newly: int, left: int) -> None:
        """Journal and tell what became of the attack, which newly broke so many samples and left so many standing."""
        status, reason, cause = self._outcome
        seconds = self._before + time.perf_counter() - self._start
        key = self.planned.key
        self.journal.append(AttackEnded(id=key, status=status, reason=reason, cause=cause, seconds=seconds))
        self.observer(AttackFinished(self.planned.key, status, len(self.won), newly, left, reason or ""))


def one_line(error: Exception) -> str:
    """An exception as one sentence; the type only where the text was not written for the user."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RobauditError) else f"{type(error).__name__}: {text}"


class _Progress:
    """Running totals of an attack, sent a few times a second."""

    def __init__(self, key: str, total: int, observer: Observer) -> None:
        self.key, self.total, self.observer = key, total, observer
        self.done = self.queries = 0
        self.broken: set[int] = set()
        self._next = 0.0

    def add(self, result: UnitResult) -> None:
        self.done += 1
        self.queries += result.queries
        if result.success:
            self.broken.add(sample_of(result.unit.sample))
        now = time.perf_counter()
        if now >= self._next or self.done == self.total:
            self._next = now + EVENT_SECONDS
            self.observer(UnitsFinished(self.key, self.done, self.total, len(self.broken), self.queries))
