"""One session of an audit, in the worker: load, clean answers, the cascade, the checks, the evidence.

Everything it learns goes into the journal; the report is built from the journal alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import FittedAttack
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import inherent_sets
from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.events import LOADING, Note, Observer, Phase, Plan, PlannedAttack, SampleError
from robaudit.audit.journal.fits import artefacts_in, fit_done
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.journal.looks import completed, restricted
from robaudit.audit.journal.tally import Tally
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.plan.auxiliary import as_it_ended, auxiliaries, unusable
from robaudit.audit.plan.certificates import plan_certificates
from robaudit.audit.plan.costs import most_of_fit, most_of_unit
from robaudit.audit.plan.fronts import Front, plan_fronts
from robaudit.audit.plan.validate import validate_loaded
from robaudit.audit.session.batch import measure_batch
from robaudit.audit.session.bench import SessionBench
from robaudit.audit.session.cascade import Cascade
from robaudit.audit.session.certifying import certify
from robaudit.audit.session.checking import run_checks
from robaudit.audit.session.checkunits import CheckUnits
from robaudit.audit.session.distances import DistanceSearch
from robaudit.audit.session.endpoint import answers_of
from robaudit.audit.session.evidence import write_evidence
from robaudit.audit.session.facts import data_record, environment_record, set_records, target_record
from robaudit.audit.session.fitting import Fitter
from robaudit.audit.session.loading import Loaded, load
from robaudit.audit.session.looks import run_looks
from robaudit.audit.session.preparing import measure, starting_pool
from robaudit.audit.session.samples import SampleStore, answer_samples, ask_alone
from robaudit.audit.session.sequential import Chunk, chunks
from robaudit.engine.care import Care
from robaudit.engine.engine import Engine
from robaudit.engine.executor import Executor, LocalExecutor
from robaudit.engine.models import Ensemble
from robaudit.engine.oracle import Oracle
from robaudit.engine.precision import Precision
from robaudit.engine.refusals import Refusals
from robaudit.errors import ChangedFileError
from robaudit.files import held_to
from robaudit.plural import counted
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Session"]

CHUNK = 32
"""Samples loaded at once for their clean answers."""


class Session:
    """Runs what the journal does not hold yet.

    Args:
        request: what to audit.
        folder: the run directory.
        journal: with what earlier sessions finished.
        observer: notified of progress.
        stop: asked between steps; True ends the session early, with all that is finished kept.
        restarted: the worker before this one was killed, likely for its memory: batches are halved.
        deadline: of the monotonic clock, after which nothing new is begun; None: no limit.
        watch: notified of each call of a model.
        suspects: samples of which one hung or crashed the worker before this one.
    """

    def __init__(
        self,
        request: AuditRequest,
        folder: Path,
        journal: Journal,
        observer: Observer,
        stop: Callable[[], bool],
        restarted: bool = False,
        deadline: float | None = None,
        watch: Watch = UNWATCHED,
        suspects: frozenset[int] = frozenset(),
    ) -> None:
        self.request = request
        self.folder = folder
        self.journal = journal
        self.observer = observer
        self._told_to_stop = stop
        self._deadline = deadline
        self._cut_short = False
        self.restarted = restarted
        self.watch = watch
        self.care = Care(lost_in(journal), suspects)
        self._fitter: Fitter | None = None

    def stop(self) -> bool:
        """Whether nothing new may begin: the user said so, or the time is over."""
        if self._told_to_stop():
            return True
        over = self._deadline is not None and time.monotonic() > self._deadline
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
            self.journal.append({"kind": "budget", "seconds": self.request.time_budget})
            self.observer(Note("the time budget was spent; what is finished is kept", "warning"))

    def _run(self) -> None:
        self.observer(Phase(LOADING, self.request.model.name))
        known = self.journal.keyed("meaning", "model")
        told = lambda text: self.observer(Phase("searching", text))  # noqa: E731
        with self.watch.about("it was loaded"):
            loaded = load(
                self.request,
                known,
                told,
                watch=self.watch,
                lost=self.care.lost,
                unusable=unusable(self.journal, self.request),
                loading=lambda name: self.observer(Phase(LOADING, name)),
                answers=answers_of(self.request, self.folder, self.journal.key),
            )
        self._check_data(loaded)
        self.observer(Phase("measuring"))
        ask_alone([loaded.target], loaded.data, self.care.suspects, self.watch)
        self.journal.append({"kind": "session", "started": datetime.now(UTC).isoformat()})
        for meaning in loaded.meanings:
            if meaning["model"] not in known:
                self.journal.append(meaning)
        self.journal.append(environment_record(loaded.target))
        self.journal.append(data_record(self.request, loaded))
        first = measure(loaded, self.watch)
        self._tell_auxiliary(loaded)
        surrogates = Ensemble(tuple(loaded.surrogates)) if loaded.surrogates else None
        oracle = Oracle(loaded.target, surrogates)
        facts = target_record(self.request, loaded)
        self.journal.append(facts)
        self._tell_sets(loaded)
        validate_loaded(self.request, facts, data_record(self.request, loaded), set_records(loaded))
        fronts = self._plan(loaded)
        looks = chunks(loaded.draw, loaded.asked) if self.request.until_decided else None
        begin = next(looks) if looks is not None else None
        drawn = loaded.drawn if begin is None else begin.indices
        self._answer(loaded, oracle, drawn)
        store = SampleStore(loaded.data, self.journal if begin is None else restricted(self.journal, drawn))
        begun = self.journal.last("unit") is not None
        if first is None or not store.answers or (self.stop() and not begun) or self._told_to_stop():
            return
        engine = self._engine(loaded, oracle, store, first)
        executor = LocalExecutor(engine, self.stop, self.care)
        self._fitter = Fitter(loaded, oracle, executor, self.journal, self.observer, self.care, self.watch, self.stop)
        if looks is not None and begin is not None:
            run_looks(
                self.request,
                itertools.chain([begin], looks),
                self.journal,
                lambda chunk: self._attack_chunk(chunk, loaded, oracle, fronts, executor),
                self.observer,
                self.stop,
            )
            store, cascades = self._after_looks(loaded, fronts, executor)
        else:
            cascades = self._cascades(loaded, fronts, store, executor, self.journal)
            self._attack(loaded, fronts, cascades, len(drawn))
        self._certify(loaded, store)
        if engine.shrunk_to is not None:
            self._note(f"memory ran out; the batch ended at {engine.shrunk_to}")
        self._tell_refusals(oracle.refusals)

        def bench(check: str) -> SessionBench:
            units = CheckUnits(check, self.journal, executor, store)
            return SessionBench(self.request, loaded, store, engine, fronts, cascades, units)

        run_checks(self.request.profile.checks, bench, self.journal, self.observer, self._told_to_stop, self.stop)
        self.observer(Phase("evidence"))
        last = bench("")
        artefacts = artefacts_in(self.journal)
        evidence = write_evidence(self.folder, self.journal, store, last.breaches(), last.nearest(), artefacts)
        self.journal.append({"kind": "evidence", **evidence})

    def _check_data(self, loaded: Loaded) -> None:
        """Refuse data that are not those of the workers and sessions before this one, whose answers count.

        Raises:
            ChangedFileError: their content differs.
        """
        before = self.journal.last("data")
        if before is not None and before["sha256"] != loaded.data.digest:
            raise ChangedFileError(
                f"{before['source']} was changed since this audit began (its SHA-256 differs); what is finished is of "
                "the data as they were: --fresh begins again"
            )

    def _cascades(
        self, loaded: Loaded, fronts: list[Front], store: SampleStore, executor: Executor, journal: Journal
    ) -> list[Cascade]:
        """A cascade for each front."""
        cascades = []
        for front in fronts:
            threat = replace(front.threat, sets=(*loaded.sets, *inherent_sets(loaded.target.spec)))
            cascades.append(
                Cascade(
                    front.plan,
                    threat,
                    store,
                    executor,
                    journal,
                    self.observer,
                    self.stop,
                    lost=self.care.lost,
                    fitter=self._fitter,
                )
            )
        return cascades

    def _attack(self, loaded: Loaded, fronts: list[Front], cascades: list[Cascade], samples: int) -> None:
        """All attacks on the samples of the cascades."""
        planned = []
        target = loaded.target
        for front, cascade in zip(fronts, cascades, strict=True):
            for p in front.attacks():
                units = cascade.most_units(p) * front.times(p)
                cost = most_of_unit(front, p, target.num_classes, target.spec.shape) if units else Cost()
                once = self._most_of_fit(front, p, loaded)
                most = None if cost is None or once is None else cost * units + once
                planned.append(PlannedAttack(p.key, str(p.attack.access), units, most))
        self.observer(Plan(tuple(planned), samples))
        for front, cascade in zip(fronts, cascades, strict=True):
            cascade.run()
            if not self.stop():
                DistanceSearch(cascade, front.minimal, front.search, front.rounds).run()

    def _most_of_fit(self, front: Front, planned: Planned, loaded: Loaded) -> Cost | None:
        """What is left of the fit of a fitted attack at most."""
        attack = planned.attack
        if not isinstance(attack, FittedAttack) or fit_done(self.journal, planned.key):
            return Cost()
        samples = len(loaded.others(attack.fit_samples))
        return most_of_fit(front, planned, loaded.target.num_classes, loaded.target.spec.shape, samples)

    def _attack_chunk(
        self, chunk: Chunk, loaded: Loaded, oracle: Oracle, fronts: list[Front], executor: Executor
    ) -> None:
        """All attacks on the samples that a look adds."""
        self._answer(loaded, oracle, chunk.indices)
        if not self.stop():
            store = SampleStore(loaded.data, restricted(self.journal, chunk.indices))
            cascades = self._cascades(loaded, fronts, store, executor, self.journal)
            self._attack(loaded, fronts, cascades, len(chunk.indices))

    def _after_looks(
        self, loaded: Loaded, fronts: list[Front], executor: Executor
    ) -> tuple[SampleStore, list[Cascade]]:
        """The samples of all looks, and cascades that know what fell in them."""
        journal = completed(self.journal)
        store = SampleStore(loaded.data, journal)
        cascades = self._cascades(loaded, fronts, store, executor, journal)
        tally = Tally(journal, journal.keyed("clean", "index"))
        for cascade in cascades:
            if (found := tally.fronts.get(str(cascade.threat.norm))) is not None:
                cascade.broken_by.update(found.reached)
        return store, cascades

    def _certify(self, loaded: Loaded, store: SampleStore) -> None:
        """What is proved of the samples, those that fell among them: a proof must not contradict an attack."""
        sets = (*loaded.sets, *inherent_sets(loaded.target.spec))
        plan = [
            replace(planned, threat=replace(planned.threat, sets=sets))
            for planned in plan_certificates(self.request.profile)
        ]
        certify(plan, loaded.target, store, self.journal, self.observer, self.stop, self.care.lost)

    def _tell_refusals(self, refusals: Refusals) -> None:
        """What the models refused in this session; a point that is refused fools nobody."""
        if refusals.counts:
            each = ", ".join(f"{key} {count}" for key, count in refusals.counts.items())
            self._note(
                f"the model failed on {counted(refusals.counts.total(), 'evaluation')} of points that attacks tried "
                f"({each}), which count as points that do not fool it: {refusals.why}"
            )

    def _note(self, message: str) -> None:
        self.journal.append({"kind": "note", "message": message})
        self.observer(Note(message, "warning"))

    def _tell_auxiliary(self, loaded: Loaded) -> None:
        """Journal which auxiliary models can be used, where that is news."""
        for auxiliary in auxiliaries(self.request):
            problem = loaded.problems.get(auxiliary.key)
            known = self.journal.last("auxiliary", key=auxiliary.key) or {"problem": None}
            if known["problem"] != problem:
                self.journal.append(auxiliary.record(problem))
                if problem is not None:
                    self.observer(Note(f"{problem}; the audit goes on without it", "warning"))

    def _tell_sets(self, loaded: Loaded) -> None:
        """Journal the perturbation sets that the user chose, and what is to be said of them."""
        if not loaded.sets:
            return
        self.journal.append({"kind": "sets", "sets": set_records(loaded)})
        for one in loaded.sets:
            for sentence in one.notes(loaded.target.spec.shape):
                self._note(sentence)

    def _plan(self, loaded: Loaded) -> list[Front]:
        """All attacks; journaled before it runs, so that what it never came to is reported."""
        gradient = loaded.target.gradient
        fronts = plan_fronts(
            self.request.profile,
            classes=loaded.target.num_classes,
            shape=loaded.target.spec.shape,
            no_gradient=None if gradient.available else gradient.reason,
            surrogates=len(loaded.surrogates),
            misfits=loaded.misfits,
            no_scores=loaded.target.no_scores,
            others=loaded.others,
        )
        fronts = [front.renewed(partial(as_it_ended, self.journal)) for front in fronts]
        self.journal.append({"kind": "plan", "attacks": [record for front in fronts for record in front.records()]})
        return fronts

    def _answer(self, loaded: Loaded, oracle: Oracle, indices: list[int]) -> None:
        """The file's clean answers to those samples that have none yet."""
        self.observer(Phase("clean answers", counted(len(indices), "sample")))
        known = self.journal.keyed("clean", "index")
        for record, scores in answer_samples(
            oracle,
            loaded.data,
            [index for index in indices if index not in known],
            own_reference=loaded.reference == "model",
            goals=loaded.goals,
            batch=min(self.request.batch_size or CHUNK, CHUNK) // (2 if self.restarted else 1) or 1,
            care=self.care,
            watch=self.watch,
        ):
            self.journal.append(record, scores)
            if record["error"] is not None:
                self.observer(SampleError(record["id"], record["error"]))
            if self.stop():
                return

    def _engine(self, loaded: Loaded, oracle: Oracle, store: SampleStore, first: tuple[int, torch.Tensor]) -> Engine:
        batch = self._batch(loaded, oracle, first)
        precision = Precision(self.request.settings.search_precision)
        if precision is not Precision.FLOAT32:
            self._note(f"searches ran in {precision}; successes were judged at the file's own precision")
        return Engine(
            oracle,
            batch,
            self.request.seed,
            starting_pool(oracle, store),
            precision=precision,
            watch=self.watch,
        )

    def _batch(self, loaded: Loaded, oracle: Oracle, first: tuple[int, torch.Tensor]) -> int:
        """Rows of one model call; half of the last choice after a killed worker."""
        batch = self.request.batch_size
        if self.restarted:
            last: Record = self.journal.last("batch") or {"size": 1}
            batch = max(1, last["size"] // 2)
        elif batch is None:
            self.observer(Phase("choosing the batch size"))
            index, point = first
            with self.watch.about("its batch size was chosen", [index]):
                batch = measure_batch(oracle, point, gradient=loaded.target.gradient.available)
        self.journal.append({"kind": "batch", "size": batch})
        return batch
