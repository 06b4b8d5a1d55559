"""The attacks that a check runs: journaled unit by unit, and counted like everything that it asks of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.cost import Cost
from robaudit.attacks.requests import TRUE, How
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import Evaluations
from robaudit.audit.journal.records.units import CheckUnit, check_unit, unit_result
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.session.samples import SampleStore
from robaudit.engine.executor import Executor
from robaudit.engine.job import Job
from robaudit.engine.units import Sample, Unit, UnitResult, best_of
from robaudit.errors import AuditInterrupted
from robaudit.files import digest_of
from robaudit.threat.model import Goal, ThreatModel

__all__ = ["CheckUnits"]


class CheckUnits:
    """Runs the attacks of one check.

    Args:
        check: its id.
        journal: takes every finished unit, and holds those of earlier sessions.
        executor: runs them.
        store: the samples.
    """

    def __init__(self, check: str, journal: Journal, executor: Executor, store: SampleStore) -> None:
        self.check = check
        self._journal = journal
        self._executor = executor
        self._store = store
        self._asked = Cost()
        self._results: dict[tuple[str, int], UnitResult] = {}

    @property
    def executor(self) -> Executor:
        """Runs the attacks."""
        return self._executor

    @property
    def seed(self) -> int:
        """Of all keyed random numbers."""
        return self._executor.seed

    def bill(self, cost: Cost) -> None:
        """Count what is asked of the model beside the attacks."""
        self._asked += cost

    @property
    def cost(self) -> Evaluations:
        """All evaluations so far, those of earlier sessions among them; the same however often it was resumed."""
        results = self._results.values()
        return Evaluations(
            forwards=self._asked.forwards + sum(result.forwards for result in results),
            backwards=self._asked.backwards + sum(result.backwards for result in results),
            queries=self._asked.queries + sum(result.queries for result in results),
            judged=sum(result.judged for result in results),
        )

    def run(
        self,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        samples: Sequence[Sample],
        how: How | None = None,
        *,
        one_draw: bool = False,
    ) -> dict[int, UnitResult]:
        """Run what is not finished yet of an attack; results by sample index. An untargeted one forgets goals.

        Raises:
            AuditInterrupted: the audit was told to stop.
        """
        cases = [sample.index for sample in samples]
        parameters = Planned(attack.id, attack, how=how or TRUE).parameters
        digest = digest_of([type(attack).__qualname__, attack.id, parameters, asdict(threat), one_draw])
        found = self._known(digest, set(cases))
        won: dict[int, Unit] = {}
        for result in found.values():
            if result.success:
                won[result.unit.sample] = min(result.unit, won.get(result.unit.sample, result.unit))
        units = self._executor.units(attack, threat, cases)
        job = Job(
            attack,
            threat,
            units,
            f"check/{attack.id}",
            how or TRUE,
            one_draw=one_draw,
            any_wrong=threat.goal is Goal.UNTARGETED,
            won=won,
            finished=frozenset(found),
        )

        def take(result: UnitResult) -> None:
            self._journal.append(check_unit(self.check, digest, attack.id, result), result.point)
            found[result.unit] = result

        if not self._executor.run(job, self._store, take):
            raise AuditInterrupted(sentence(Cause.INTERRUPTED))
        of_sample: dict[int, list[UnitResult]] = {}
        for result in found.values():
            of_sample.setdefault(result.unit.sample, []).append(result)
        best = {case: best_of(results, minimal=threat.minimal) for case, results in of_sample.items()}
        self._results |= {(digest, case): result for case, result in best.items()}
        return best

    def _known(self, digest: str, cases: set[int]) -> dict[Unit, UnitResult]:
        """What earlier sessions finished of a job."""
        found = {}
        for record in self._journal.of(CheckUnit):
            if record.check == self.check and record.job == digest and record.sample in cases:
                found[record.unit] = unit_result(record, self._journal.point(record))
        return found
