"""The cascade: each attack runs on what the attacks before it left standing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from robaudit.attacks.base import SlotAttack
from robaudit.audit.events import AttackFinished, AttackStarted, Note, Observer, UnitsFinished
from robaudit.audit.journal import Journal, unit_record, unit_result
from robaudit.audit.plan import Planned
from robaudit.audit.samples import SampleStore
from robaudit.engine.engine import Engine
from robaudit.engine.units import Unit, UnitResult, plan_units
from robaudit.errors import RobauditError
from robaudit.threat.model import ThreatModel

__all__ = ["Cascade", "one_line"]

EVENT_SECONDS = 0.2


class Cascade:
    """Runs the attacks of a plan; knows which attack broke which sample.

    Args:
        plan: attacks in order.
        threat: the threat model.
        seed: of all random numbers.
        store: the samples.
        engine: runs units.
        journal: takes every finished unit, and holds those of earlier sessions.
        observer: told of progress.
        stop: True ends the cascade early; attacks that it did not come to have no record.
    """

    def __init__(
        self,
        plan: list[Planned],
        threat: ThreatModel,
        seed: int,
        store: SampleStore,
        engine: Engine,
        journal: Journal,
        observer: Observer,
        stop: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.threat = threat
        self.seed = seed
        self.store = store
        self.engine = engine
        self.journal = journal
        self.observer = observer
        self.stop = stop
        self.broken_by: dict[int, str] = {}
        self._earlier: dict[str, dict[Unit, UnitResult]] = {}
        for record in journal.of("unit"):
            result = unit_result(record)
            self._earlier.setdefault(record["attack"], {})[result.unit] = result

    def most_units(self, planned: Planned) -> int:
        """Units of an attack if no sample falls before."""
        if planned.status != "ready":
            return 0
        return sum(1 for _ in self._units(planned.attack, self.store.standing()))

    def _units(self, attack: SlotAttack[Any], samples: list[int]) -> list[Unit]:
        classes = self.engine.evaluator.target.num_classes
        return list(plan_units(attack, self.threat.goal, samples, classes))

    def run(self) -> None:
        """All attacks in order."""
        for planned in self.plan:
            if self.stop():
                return
            if planned.status == "ready":
                self._attack(planned)
            else:
                left = len(self.store.standing(self.broken_by.__contains__))
                self.observer(AttackFinished(planned.key, planned.status, 0, 0, left, planned.reason or ""))

    def _attack(self, planned: Planned) -> None:
        standing = self.store.standing(self.broken_by.__contains__)
        stand = set(standing)
        units = self._units(planned.attack, standing)
        earlier = {u: r for u, r in self._earlier.get(planned.key, {}).items() if u.sample in stand}
        won: dict[int, Unit] = {}
        lost: dict[int, str] = {}
        progress = _Progress(planned.key, len(units), self.observer)

        def count(result: UnitResult) -> None:
            unit = result.unit
            if result.success:
                won[unit.sample] = min(unit, won.get(unit.sample, unit))
            elif result.error:
                lost[unit.sample] = result.error
            progress.add(result)

        def sink(result: UnitResult) -> None:
            self.journal.append(unit_record(planned.key, result), result.point if result.success else None)
            count(result)

        self.observer(AttackStarted(planned.key, len(units), str(planned.attack.access)))
        for result in earlier.values():
            count(result)
        known = self.journal.last("attack", id=planned.key)
        before = known["seconds"] if known else 0.0
        start = time.perf_counter()
        status, reason = "done", None
        try:
            complete = self.engine.run(
                planned.attack,
                self.threat,
                units,
                self.store,
                sink,
                stop=self.stop,
                won=won,
                key=planned.key,
                draws=planned.eot,
                finished=earlier,
            )
            if not complete:
                status, reason = "partial", "the audit was interrupted"
            elif standing and not won and len(lost) == len(standing):  # what it could not try is not robust
                status, reason = "failed", f"it could not be carried out on any sample: {lost[standing[0]]}"
        except Exception as error:  # one failing attack costs that attack alone
            status, reason = "failed", one_line(error)
            self.observer(Note(f"the attack {planned.key} failed: {reason}", "error"))
        self.broken_by.update(dict.fromkeys(won, planned.key))
        seconds = before + time.perf_counter() - start
        self.journal.append(
            {"kind": "attack", "id": planned.key, "status": status, "reason": reason, "seconds": seconds}
        )
        left = len(standing) - len(won)
        self.observer(AttackFinished(planned.key, status, len(won), len(won), left, reason or ""))


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
            self.broken.add(result.unit.sample)
        now = time.perf_counter()
        if now >= self._next or self.done == self.total:
            self._next = now + EVENT_SECONDS
            self.observer(UnitsFinished(self.key, self.done, self.total, len(self.broken), self.queries))
