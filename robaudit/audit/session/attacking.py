"""All attacks of a session: on all samples at once, or look by look."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import FittedSearch
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import inherent_sets
from robaudit.audit.journal.events import Phase, Plan, PlannedAttack, SampleError
from robaudit.audit.journal.fits import fit_done
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import completed, restricted
from robaudit.audit.journal.records.attacks import AttackPlan, PlannedEntry
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import Tally
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.plan.auxiliary import as_it_ended
from robaudit.audit.plan.costs import most_of_fit, most_of_sample, most_of_unit
from robaudit.audit.plan.fronts import Front, plan_fronts
from robaudit.audit.plan.reaction import reacting
from robaudit.audit.plan.surrogates import plan_surrogates
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.chunks import Chunk
from robaudit.audit.session.distances import DistanceSearch
from robaudit.audit.session.fitting import Fitter
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.looks import run_looks
from robaudit.audit.session.samples import Asking, SampleStore, answer_samples
from robaudit.audit.session.shared import Shared
from robaudit.audit.session.surrogates import Surrogates
from robaudit.engine.executor import Executor
from robaudit.engine.oracle import Oracle
from robaudit.plural import counted
from robaudit.threat.model import ThreatModel

__all__ = ["Attacking", "answer", "planned_fronts", "tell_plan"]

CHUNK = 32
"""Samples loaded at once for their clean answers."""


def planned_fronts(request: AuditRequest, loaded: Loaded, journal: Journal) -> list[Front]:
    """All attacks; journaled before they run, so that what an audit never came to is reported."""
    traits = replace(loaded.traits, detector=request.settings.detector is not None)
    fronts = plan_fronts(request.profile, traits)
    fronts = [front.renewed(partial(as_it_ended, journal)) for front in fronts]
    tell_plan(fronts, loaded, journal)
    return fronts


def tell_plan(fronts: Sequence[Front], loaded: Loaded, journal: Journal) -> None:
    """Journal all attacks of a plan."""
    entries = (entry for front in fronts for entry in _entries(front, loaded))
    journal.append(AttackPlan(attacks=tuple(entries)))


def _entries(front: Front, loaded: Loaded) -> Iterator[PlannedEntry]:
    """What a report says of the attacks of a front, with the queries that they may spend."""
    target = loaded.target
    for planned, entry in zip(front.attacks(), front.entries(), strict=True):
        most = most_of_sample(front, planned, target.num_classes, target.spec.shape)
        yield replace(entry, budget=most.queries if most is not None and most.queries else None)


def answer(loaded: Loaded, oracle: Oracle, indices: Sequence[int], batch: int, shared: Shared) -> None:
    """Journal the file's clean answers to those samples that have none yet; ``batch``: most that are loaded at once."""
    shared.observer(Phase("clean answers", counted(len(indices), "sample")))
    known = shared.journal.keyed(CleanSample, "index")
    asking = Asking(
        own_reference=loaded.reference == "model",
        batch=batch,
        goals=loaded.goals,
        care=shared.care,
        watch=shared.watch,
    )
    for record, scores in answer_samples(oracle, loaded.data, [i for i in indices if i not in known], asking):
        shared.journal.append(record, scores)
        if record.error is not None:
            shared.observer(SampleError(record.id, record.error))
        if shared.stop():
            return


@dataclass(frozen=True)
class Attacking:
    """Carries out the attacks of a plan.

    Args:
        request: what to audit.
        loaded: the models and samples.
        oracle: asks the file.
        fronts: the plan.
        executor: runs the attacks.
        batch: samples loaded at once for their clean answers.
        shared: takes what is finished.
    """

    request: AuditRequest
    loaded: Loaded
    oracle: Oracle
    fronts: Sequence[Front]
    executor: Executor
    batch: int
    shared: Shared

    def at_once(self, store: SampleStore, samples: int) -> list[Cascade]:
        """All attacks on the samples of a store, of which so many were drawn."""
        cascades = self._cascades(store, self.shared)
        self._attack(cascades, samples)
        self._tell_of_surrogates()
        return cascades

    def by_looks(self, first: Chunk, others: Iterator[Chunk]) -> tuple[SampleStore, list[Cascade]]:
        """All attacks on one chunk of samples after the other, until the gates are decided.

        Returns:
            The samples of all looks, and cascades that know what fell in them.
        """
        shared = self.shared
        plan = itertools.chain([first], others)
        run_looks(self.request, plan, shared.journal, self._attack_chunk, shared.observer, shared.stop)
        self._tell_of_surrogates()
        journal = completed(shared.journal)
        store = SampleStore(self.loaded.data, journal)
        cascades = self._cascades(store, replace(shared, journal=journal))
        tally = Tally(journal, journal.keyed(CleanSample, "index"))
        for cascade in cascades:
            if (found := tally.fronts.get(str(cascade.threat.norm))) is not None:
                cascade.broken_by.update(found.reached)
        return store, cascades

    def react(self, cascades: Sequence[Cascade]) -> None:
        """The attacks of a reaction, on what stands."""
        plan = plan_surrogates(reacting(self.request.profile), self.loaded.traits)
        surrogates = Surrogates(self.loaded, self.oracle, self._fitter, plan, self.fronts[0].threat, self.shared)
        for front, cascade in zip(self.fronts, cascades, strict=True):
            cascade.further(front.reaction, surrogates)

    def _tell_of_surrogates(self) -> None:
        if not self.shared.stop():
            self._surrogates.tell_unneeded()

    def _attack_chunk(self, chunk: Chunk) -> None:
        """All attacks on the samples that a look adds."""
        shared = self.shared
        answer(self.loaded, self.oracle, chunk.indices, self.batch, shared)
        if not shared.stop():
            store = SampleStore(self.loaded.data, restricted(shared.journal, chunk.indices))
            self._attack(self._cascades(store, shared), len(chunk.indices))

    @cached_property
    def _fitter(self) -> Fitter:
        return Fitter(self.loaded, self.oracle, self.executor, self.shared)

    @cached_property
    def _surrogates(self) -> Surrogates:
        plan = plan_surrogates(self.request.profile, self.loaded.traits)
        return Surrogates(self.loaded, self.oracle, self._fitter, plan, self.fronts[0].threat, self.shared)

    def _cascades(self, store: SampleStore, shared: Shared) -> list[Cascade]:
        """A cascade for each front."""
        sets = (*self.loaded.sets, *inherent_sets(self.loaded.target.spec))
        return [
            Cascade(
                front.plan,
                replace(front.threat, sets=sets),
                store,
                self.executor,
                shared,
                self._fitter,
                self._surrogates,
            )
            for front in self.fronts
        ]

    def _attack(self, cascades: Sequence[Cascade], samples: int) -> None:
        """All attacks on the samples of the cascades."""
        planned = []
        target = self.loaded.target
        for front, cascade in zip(self.fronts, cascades, strict=True):
            for p in front.attacks():
                units = cascade.most_units(p) * front.times(p)
                cost = most_of_unit(front, p, target.num_classes, target.spec.shape) if units else Cost()
                once = self._most_of_fit(front, p)
                most = None if cost is None or once is None else cost * units + once
                planned.append(PlannedAttack(p.key, str(p.attack.access), units, most))
        self.shared.observer(Plan(tuple(planned), samples))
        for front, cascade in zip(self.fronts, cascades, strict=True):
            cascade.run()
            if not self.shared.stop():
                DistanceSearch(cascade, front.minimal, front.search, front.rounds).run()
            apart = [(own.plan, own.threat(cascade.threat)) for own in front.secrecy]
            apart += [([cell], cascade.threat) for cell in front.matrix]
            for plan, threat in apart:
                if not self.shared.stop():
                    self._apart(plan, threat, cascade)

    def _apart(self, plan: list[Planned], threat: ThreatModel, cascade: Cascade) -> None:
        """A cascade of its own on every sample; what it breaks is broken in the audit's own too."""
        apart = Cascade(plan, threat, cascade.store, self.executor, self.shared, self._fitter, self._surrogates)
        apart.run()
        cascade.fell(apart.broken_by)

    def _most_of_fit(self, front: Front, planned: Planned) -> Cost | None:
        """What is left of the fit of a fitted attack at most."""
        attack, target = planned.attack, self.loaded.target
        if not isinstance(attack, FittedSearch) or fit_done(self.shared.journal, planned.key):
            return Cost()
        samples = len(self.loaded.others(attack.fit_samples))
        return most_of_fit(front, planned, target.num_classes, target.spec.shape, samples)
