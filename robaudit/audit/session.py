"""One session of an audit, in the worker: load, clean answers, the cascade, the checks, the evidence.

Everything it learns goes into the journal; the report is built from the journal alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robaudit.attacks.base import StartingPool
from robaudit.audit.batch import measure_batch
from robaudit.audit.bench import SessionBench
from robaudit.audit.cascade import Cascade
from robaudit.audit.events import CheckFinished, Note, Observer, Phase, Plan, PlannedAttack, SampleError
from robaudit.audit.evidence import write_evidence
from robaudit.audit.facts import data_record, environment_record, target_record
from robaudit.audit.journal import Journal
from robaudit.audit.loading import Loaded, load
from robaudit.audit.plan import plan_attacks, threat_model
from robaudit.audit.request import AuditRequest
from robaudit.audit.samples import CleanAnswer, SampleStore
from robaudit.checks.registry import check_classes
from robaudit.engine.engine import Engine
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.judge import Judge
from robaudit.engine.models import Ensemble
from robaudit.errors import RobauditError, UnreadableSampleError
from robaudit.threat.random import key_of

__all__ = ["Session"]

CHUNK = 32
"""Samples loaded at once for their clean answers."""
MEASURED = 8
"""Samples on which the target itself is measured."""
POOL = 24
"""Samples that attacks may start from."""


class Session:
    """Runs what the journal does not hold yet.

    Args:
        request: what to audit.
        folder: the run directory.
        journal: with what earlier sessions finished.
        observer: told of progress.
        stop: asked between steps; True ends the session early, with all that is finished kept.
        batch_scale: factor on the batch size after a worker was killed.
    """

    def __init__(
        self,
        request: AuditRequest,
        folder: Path,
        journal: Journal,
        observer: Observer,
        stop: Callable[[], bool],
        batch_scale: float = 1.0,
    ) -> None:
        self.request = request
        self.folder = folder
        self.journal = journal
        self.observer = observer
        self.stop = stop
        self.batch_scale = batch_scale

    def run(self) -> None:
        """Carry the audit as far as it goes.

        Raises:
            UsageError: the input is refused before the audit.
            AuditError: it cannot go on.
        """
        self.observer(Phase("loading", self.request.model.name))
        loaded = load(self.request)
        self.journal.append(environment_record(loaded.target))
        self.journal.append(data_record(self.request, loaded))
        self.observer(Phase("clean answers", f"{len(loaded.drawn)} samples"))
        first = self._measure(loaded)
        store = SampleStore(loaded.data, self._clean_answers(loaded))
        self.journal.append(target_record(self.request, loaded))
        if first is None or not store.answers:
            self.journal.append({"kind": "end", "stopped": False})
            return
        engine = self._engine(loaded, store, first)
        cascade = self._cascade(loaded, store, engine)
        cascade.run()
        bench = SessionBench(self.request, loaded, store, engine, cascade)
        self._checks(bench)
        self.observer(Phase("evidence"))
        evidence = write_evidence(self.folder, self.journal, store, bench.breaches())
        self.journal.append({"kind": "evidence", **evidence})
        if engine.evaluator.halvings:
            self._note(f"a GPU ran out of memory; the batch ended at {engine.evaluator.micro_batch}")
        self.journal.append({"kind": "end", "stopped": self.stop()})

    def _note(self, message: str) -> None:
        self.journal.append({"kind": "note", "message": message})
        self.observer(Note(message, "warning"))

    def _clean_answers(self, loaded: Loaded) -> dict[int, CleanAnswer]:
        """Ask the file for every drawn sample; one that cannot be read or answered costs itself alone."""
        answers: dict[int, CleanAnswer] = {}
        for start in range(0, len(loaded.drawn), CHUNK):
            read: list[int] = []
            points = []
            for index in loaded.drawn[start : start + CHUNK]:
                try:
                    points.append(loaded.data.load(index))
                    read.append(index)
                except UnreadableSampleError as error:
                    self._lost(loaded, index, str(error), readable=False)
            if not read:
                continue
            u = torch.from_numpy(np.stack(points)).to(loaded.target.device, loaded.target.dtype)
            scores = loaded.target.scores(u).cpu().numpy()
            for index, row in zip(read, scores, strict=True):
                if not np.isfinite(row).all():
                    self._lost(loaded, index, "the model's output is not finite on it", readable=True)
                    continue
                own = self.request.reference == "model" or loaded.data.labels is None
                label = int(row.argmax()) if own else int(loaded.data.labels[index])  # type: ignore[index]
                answers[index] = CleanAnswer(index, label, row)
                self._clean_record(loaded, index, label, int(row.argmax()), None)
        return answers

    def _lost(self, loaded: Loaded, index: int, message: str, *, readable: bool) -> None:
        labels = loaded.data.labels
        label = None if labels is None or self.request.reference == "model" else int(labels[index])
        self._clean_record(loaded, index, label, None, message, readable=readable)
        self.observer(SampleError(loaded.data.ids[index], message))

    def _clean_record(
        self,
        loaded: Loaded,
        index: int,
        label: int | None,
        prediction: int | None,
        error: str | None,
        *,
        readable: bool = True,
    ) -> None:
        self.journal.append(
            {
                "kind": "clean",
                "index": index,
                "id": loaded.data.ids[index],
                "label": label,
                "prediction": prediction,
                "readable": readable,
                "error": error,
            }
        )

    def _measure(self, loaded: Loaded) -> torch.Tensor | None:
        """Batch invariance, determinism and the kind of the output, on real samples; returns one of them."""
        found: list[np.ndarray[Any, Any]] = []
        for index in loaded.drawn:
            with contextlib.suppress(UnreadableSampleError):
                found.append(loaded.data.load(index))
            if len(found) == MEASURED:
                break
        if not found:
            return None
        points = torch.from_numpy(np.stack(found)).to(loaded.target.device, loaded.target.dtype)
        loaded.target.measure(points)
        if loaded.target.gradient.available:
            loaded.target.calibrate()
        return points[0]

    def _engine(self, loaded: Loaded, store: SampleStore, first: torch.Tensor) -> Engine:
        self.observer(Phase("choosing the batch size"))
        batch = self.request.batch_size
        if batch is None:
            batch = measure_batch(loaded.target, first, gradient=loaded.target.gradient.available)
        batch = max(1, int(batch * self.batch_scale))
        surrogates = Ensemble(tuple(loaded.surrogates)) if loaded.surrogates else None
        evaluator = Evaluator(loaded.target, batch, surrogates)
        judge = Judge(loaded.target)
        return Engine(evaluator, judge, batch, self.request.seed, self._pool(loaded, store))

    def _pool(self, loaded: Loaded, store: SampleStore) -> StartingPool:
        """Samples to start from, chosen and ordered by content so that the data's order does not matter."""
        ordered = sorted((store(i) for i in list(store.answers)[: 4 * POOL]), key=lambda s: key_of("pool", s.digest))[
            :POOL
        ]
        target = loaded.target
        points = torch.from_numpy(np.stack([s.u for s in ordered])).to(target.device, target.dtype)
        labels = torch.tensor([s.label for s in ordered], dtype=torch.int64, device=target.device)
        return StartingPool(points, labels)

    def _cascade(self, loaded: Loaded, store: SampleStore, engine: Engine) -> Cascade:
        gradient = loaded.target.gradient
        plan = plan_attacks(
            self.request.profile,
            classes=loaded.target.num_classes,
            shape=loaded.target.spec.shape,
            no_gradient=None if gradient.available else gradient.reason,
            surrogates=len(loaded.surrogates),
        )
        for reason in loaded.surrogate_problems:
            self._note(reason)
        threat = threat_model(self.request.profile)
        cascade = Cascade(plan, threat, self.request.seed, store, engine, self.journal, self.observer, self.stop)
        planned = tuple(PlannedAttack(p.key, str(p.attack.access), cascade.most_units(p)) for p in plan)
        self.observer(Plan(planned, len(loaded.drawn)))
        return cascade

    def _checks(self, bench: SessionBench) -> None:
        """Measure what was not measured yet; a check that fails to run is a failure of that check."""
        classes = check_classes()
        self.observer(Phase("checks"))
        for name in self.request.profile.checks:
            check = classes[name]()
            if self.stop():
                self.journal.append({"kind": "check", "id": name, "skipped": "the audit was interrupted"})
                continue
            start = time.perf_counter()
            record: dict[str, Any] = {"kind": "check", "id": name}
            known = self.journal.last("check", id=name)
            try:
                measured = known.get("measured") if known and name == "unbounded" else None
                record["measured"] = check.measure(bench) if measured is None else measured
                finding = check.verdict(record["measured"])
                self.observer(CheckFinished(name, finding.status, finding.message))
            except (RobauditError, RuntimeError, ValueError) as error:
                record["failed"] = f"the check could not be carried out: {error}"
                self.observer(CheckFinished(name, "fail", record["failed"]))
            record["seconds"] = time.perf_counter() - start
            self.journal.append(record)
