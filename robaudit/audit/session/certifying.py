"""Certificates: what is proved of each sample that the file answers rightly, whatever the attacks did to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence

import torch

from robaudit.audit.journal.events import Note, Observer, Phase
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.plan.certificates import PlannedCertificate
from robaudit.audit.session.samples import SampleStore
from robaudit.certificates.base import Ball, Question
from robaudit.certificates.subject import Subject, Unreadable, subject_of
from robaudit.errors import FinalError, UnreadableSampleError, reason
from robaudit.plural import counted
from robaudit.target.target import Target

__all__ = ["certify"]


def certify(
    plan: Sequence[PlannedCertificate],
    target: Target,
    store: SampleStore,
    journal: Journal,
    observer: Observer,
    stop: Callable[[], bool],
    lost: Collection[int] = (),
) -> None:
    """Prove what can be proved; samples that the journal has are not proved again.

    Args:
        plan: the certifiers.
        target: the file, measured.
        store: its samples.
        journal: gets a record a sample and certifier, and one of what became of each certifier.
        observer: told of progress.
        stop: True ends it early.
        lost: samples that the model does not answer.
    """
    if not plan:
        return
    observer(Phase("certificates"))
    subject: Subject | None = None
    why = None
    try:
        subject = subject_of(target)
    except Unreadable as error:
        why = str(error)
    for planned in plan:
        status, told = "skipped", why
        if subject is not None:
            status, told = _prove_all(planned, subject, target, store, journal, observer, stop, lost)
        journal.append({"kind": "certifier", "id": planned.key, "status": status, "reason": told})
        if status == "skipped":
            observer(Note(f"the certificate {planned.key} proves nothing of this file: {told}", "warning"))


def _prove_all(
    planned: PlannedCertificate,
    subject: Subject,
    target: Target,
    store: SampleStore,
    journal: Journal,
    observer: Observer,
    stop: Callable[[], bool],
    lost: Collection[int],
) -> tuple[str, str | None]:
    """(status, reason)."""
    still = planned.threat.mask(torch.zeros(1, *target.spec.shape))
    fixed = () if still is None else tuple(still.flatten().nonzero()[:, 0].tolist())
    ball = Ball(planned.threat.norm, planned.threat.eps, fixed)
    try:
        why = planned.certifier.unsuited(subject, ball)
    except Exception as error:  # another package's code may raise anything; it costs that certifier alone
        return "failed", f"it could not be carried out: {reason(error)}"
    if why is not None:
        return "skipped", why
    known = {record["sample"] for record in journal.of("certificate") if record["id"] == planned.key}
    wanted = [index for index in store.correct() if store.answers[index].goals != () and index not in lost]
    observer(Phase(f"certificate {planned.key}", counted(len(wanted), "sample")))
    errors = []
    for index in wanted:
        if index in known:
            continue
        if stop():
            return "partial", "the audit was interrupted"
        record = _prove(planned, subject, ball, store, index)
        journal.append(record)
        if record["error"] is not None:
            errors.append(record["error"])
    return ("failed", f"it could not be carried out: {errors[0]}") if errors else ("done", None)


def _prove(planned: PlannedCertificate, subject: Subject, ball: Ball, store: SampleStore, index: int) -> Record:
    answer, start = store.answers[index], time.perf_counter()
    rivals = answer.goals or tuple(other for other in range(subject.classes) if other != answer.label)
    proved, margin, problem = False, -math.inf, None
    try:
        question = Question(torch.from_numpy(store(index).u.copy()).double(), answer.label, rivals)
        with torch.no_grad():
            found = planned.certifier.prove(subject, question, ball)
        proved, margin = bool(found.proved), float(found.margin)
    except UnreadableSampleError:
        raise
    except FinalError:
        raise
    except Exception as error:  # it costs that sample alone
        problem = reason(error)
    return {
        "kind": "certificate",
        "id": planned.key,
        "sample": index,
        "proved": proved,
        "margin": margin if math.isfinite(margin) else None,
        "seconds": time.perf_counter() - start,
        "error": problem,
    }
