"""One session of an audit, in the worker: load, clean answers, the cascade, the checks, the evidence.

Everything it learns goes into the journal; the report is built from the journal alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.events import LOADING, Note, Observer, Phase
from robaudit.audit.journal.fits import artefacts_in
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import restricted
from robaudit.audit.journal.records.session import BatchChosen, BudgetSpent, MeaningFound
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.plan.attacks import service_of
from robaudit.audit.plan.auxiliary import unusable
from robaudit.audit.plan.validate import validate_loaded
from robaudit.audit.session.attacking import CHUNK, Attacking, answer, planned_fronts
from robaudit.audit.session.batch import measure_batch
from robaudit.audit.session.bench import SessionBench
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.certifying import certificates_of, certify
from robaudit.audit.session.checking import run_checks
from robaudit.audit.session.checkunits import CheckUnits
from robaudit.audit.session.chunks import chunks
from robaudit.audit.session.detecting import fitted_to, guarding
from robaudit.audit.session.endpoint import answers_of
from robaudit.audit.session.evidence import Rows, write_evidence
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.loading import Before, Told, load
from robaudit.audit.session.preparing import measure, starting_pool
from robaudit.audit.session.reacting import reacted
from robaudit.audit.session.samples import SampleStore, ask_alone
from robaudit.audit.session.sections import data_facts, set_sections, target_facts
from robaudit.audit.session.shared import Shared
from robaudit.audit.session.start import Start
from robaudit.audit.session.telling import (
    check_data,
    tell_auxiliary,
    tell_choice,
    tell_loaded,
    tell_refusals,
    tell_sets,
)
from robaudit.checks.base import Finding
from robaudit.engine.care import Care
from robaudit.engine.engine import Engine
from robaudit.engine.executor import LocalExecutor
from robaudit.engine.oracle import Oracle
from robaudit.engine.precision import Precision
from robaudit.files import held_to
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Session"]

FROM_THE_BEGINNING = Start()


class Session:
    """Runs what the journal does not hold yet.

    Args:
        request: what to audit.
        folder: the run directory.
        journal: with what earlier sessions finished.
        observer: notified of progress.
        stop: asked between steps; True ends the session early, with all that is finished kept.
        start: with what care it begins.
        watch: notified of each call of a model.
    """

    def __init__(
        self,
        request: AuditRequest,
        folder: Path,
        journal: Journal,
        observer: Observer,
        stop: Callable[[], bool],
        start: Start = FROM_THE_BEGINNING,
        watch: Watch = UNWATCHED,
    ) -> None:
        self.request = request
        self.folder = folder
        self._told_to_stop = stop
        self._start = start
        self._cut_short = False
        care = Care(lost_in(journal), start.suspects)
        self._shared = Shared(journal, observer, self.stop, care, watch)

    def stop(self) -> bool:
        """Whether nothing new may begin: the user said so, or the time is over."""
        if self._told_to_stop():
            return True
        over = self._start.deadline is not None and time.monotonic() > self._start.deadline
        self._cut_short |= over
        return over

    def run(self) -> None:
        """Carry the audit as far as it goes, in the time that it has.

        Raises:
            UsageError: the input is refused before the audit.
            AuditError: it cannot go on, such as where a file is no longer the one that the run is named by.
        """
        with held_to(self.request.files):
            self._run()
        if self._cut_short:
            self._shared.journal.append(BudgetSpent(seconds=self.request.time_budget))
            self._shared.observer(Note("the time budget was spent; what is finished is kept", "warning"))

    def _run(self) -> None:
        request, shared, journal = self.request, self._shared, self._shared.journal
        loaded, first = self._load()
        guard = guarding(request, loaded, shared)
        oracle = Oracle(loaded.target, loaded.surrogates, service_of(request.profile), guard)
        fronts = planned_fronts(request, loaded, journal)
        looks = chunks(loaded.draw, loaded.asked) if request.settings.until_decided else None
        begin = next(looks) if looks is not None else None
        drawn = loaded.drawn if begin is None else begin.indices
        at_once = min(request.batch_size or CHUNK, CHUNK) // (2 if self._start.halved else 1) or 1
        answer(loaded, oracle, drawn, at_once, shared)
        store = SampleStore(loaded.data, journal if begin is None else restricted(journal, drawn))
        begun = journal.last(FinishedUnit) is not None
        if first is None or not store.answers or (self.stop() and not begun) or self._told_to_stop():
            return
        engine = self._engine(loaded, oracle, store, first)
        executor = LocalExecutor(engine, self.stop, shared.care)
        attacking = Attacking(request, loaded, oracle, fronts, executor, at_once, shared)
        if looks is not None and begin is not None:
            store, cascades = attacking.by_looks(begin, looks)
        else:
            cascades = attacking.at_once(store, len(drawn))
        self._certify(loaded, store)
        if engine.shrunk_to is not None:
            shared.note(f"memory ran out; the batch ended at {engine.shrunk_to}")
        tell_refusals(oracle.refusals, shared)
        self._check(store, engine, attacking, cascades)

    def _load(self) -> tuple[Loaded, tuple[int, torch.Tensor] | None]:
        """What is audited, measured and journaled, and one of its samples by index; None where none can be read."""
        request, shared, journal = self.request, self._shared, self._shared.journal
        shared.observer(Phase(LOADING, request.model.name))
        before = Before(
            journal.keyed(MeaningFound, "model"),
            shared.care.lost,
            unusable(journal, request),
            answers_of(request, self.folder, journal.key),
        )
        told = Told(
            searching=lambda text: shared.observer(Phase("searching", text)),
            loading=lambda name: shared.observer(Phase(LOADING, name)),
        )
        with shared.watch.about("it was loaded"):
            opened = load(request, before=before, told=told, watch=shared.watch)
        check_data(opened, journal)
        shared.observer(Phase("measuring"))
        ask_alone(opened.opened, opened.differentiable, opened.data, shared.care.suspects, shared.watch)
        tell_loaded(request, opened, journal)
        loaded, first = measure(opened, shared.watch)
        tell_auxiliary(request, loaded, shared)
        facts = target_facts(request, loaded)
        journal.append(facts)
        tell_sets(loaded, shared)
        tell_choice(request, loaded, shared)
        validate_loaded(request, facts.section, data_facts(request, loaded).section, set_sections(loaded))
        return loaded, first

    def _certify(self, loaded: Loaded, store: SampleStore) -> None:
        """What is proved of the samples, those that fell among them: a proof must not contradict an attack."""
        certify(certificates_of(self.request.profile, loaded), loaded.target, store, self._shared)

    def _check(self, store: SampleStore, engine: Engine, attacking: Attacking, cascades: Sequence[Cascade]) -> None:
        """The checks, what follows from them, and the evidence."""
        shared, journal, loaded = self._shared, self._shared.journal, attacking.loaded
        fronts = attacking.fronts

        def bench(check: str) -> SessionBench:
            units = CheckUnits(check, journal, attacking.executor, store)
            return SessionBench(self.request, loaded, store, engine, fronts, cascades, units)

        def check(*, last: bool) -> dict[str, Finding]:
            asked = self.request.profile.checks
            return run_checks(asked, bench, journal, shared.observer, self._told_to_stop, self.stop, last=last)

        fronts = reacted(check(last=False), attacking, cascades, store, shared)
        check(last=True)
        shared.observer(Phase("evidence"))
        last = bench("")
        rows = Rows(last.breaches(), last.nearest(), {**artefacts_in(journal), **fitted_to(journal)})
        journal.append(write_evidence(self.folder, journal, store, rows))

    def _engine(self, loaded: Loaded, oracle: Oracle, store: SampleStore, first: tuple[int, torch.Tensor]) -> Engine:
        batch = self._batch(loaded, oracle, first)
        precision = Precision(self.request.settings.search_precision)
        if precision is not Precision.FLOAT32:
            self._shared.note(f"searches ran in {precision}; successes were judged at the file's own precision")
        return Engine(
            oracle,
            batch,
            self.request.settings.seed,
            starting_pool(oracle, store),
            precision=precision,
            watch=self._shared.watch,
        )

    def _batch(self, loaded: Loaded, oracle: Oracle, first: tuple[int, torch.Tensor]) -> int:
        """Rows of one model call; half of the last choice after a killed worker."""
        shared, batch = self._shared, self.request.batch_size
        if self._start.halved:
            last = shared.journal.last(BatchChosen)
            batch = 1 if last is None else max(1, last.size // 2)
        elif batch is None:
            shared.observer(Phase("choosing the batch size"))
            index, point = first
            with shared.watch.about("its batch size was chosen", [index]):
                batch = measure_batch(oracle, point, gradient=loaded.target.gradient.available)
        shared.journal.append(BatchChosen(size=batch))
        return batch
