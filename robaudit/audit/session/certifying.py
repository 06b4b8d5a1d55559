"""Certificates: what is proved of each sample that the file answers rightly, whatever the attacks did to it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.sets import inherent_sets
from robaudit.audit.journal.events import Note, Phase
from robaudit.audit.journal.records.attacks import CertifierEnded
from robaudit.audit.journal.records.samples import CertifiedSample
from robaudit.audit.plan.certificates import PlannedCertificate, plan_certificates
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.samples import SampleStore
from robaudit.audit.session.shared import Shared
from robaudit.certificates.base import Ball, Question
from robaudit.certificates.subject import Subject, Unreadable, subject_of
from robaudit.errors import FinalError, UnreadableSampleError, reason
from robaudit.plural import counted
from robaudit.target.target import Target

__all__ = ["certificates_of", "certify"]


def certificates_of(profile: Profile, loaded: Loaded) -> list[PlannedCertificate]:
    """The certifiers of a profile, with what may be changed of the input that was loaded."""
    sets = (*loaded.sets, *inherent_sets(loaded.target.spec))
    return [replace(planned, threat=replace(planned.threat, sets=sets)) for planned in plan_certificates(profile)]


def certify(
    plan: Sequence[PlannedCertificate],
    target: Target,
    store: SampleStore,
    shared: Shared,
) -> None:
    """Prove what can be proved; samples that the journal has are not proved again.

    Args:
        plan: the certifiers.
        target: the file, measured.
        store: its samples.
        shared: its journal gets a record a sample and certifier, and one of what became of each certifier.
    """
    if not plan:
        return
    shared.observer(Phase("certificates"))
    subject: Subject | None = None
    why = None
    try:
        subject = subject_of(target)
    except Unreadable as error:
        why = str(error)
    for planned in plan:
        ended = CertifierEnded(id=planned.key, status="skipped", reason=why)
        if subject is not None:
            ended = _prove_all(planned, subject, target, store, shared)
        shared.journal.append(ended)
        if ended.status == "skipped":
            told = f"the certificate {planned.key} proves nothing of this file: {ended.reason}"
            shared.observer(Note(told, "warning"))


def _prove_all(
    planned: PlannedCertificate, subject: Subject, target: Target, store: SampleStore, shared: Shared
) -> CertifierEnded:
    """What became of a certifier whose proofs are journaled."""
    key, failed = planned.key, "it could not be carried out: "
    ball = planned.ball(target.spec.shape)
    try:
        why = planned.certifier.unsuited(subject, ball)
    except Exception as error:  # another package's code may raise anything; it costs that certifier alone
        return CertifierEnded(id=key, status="failed", reason=failed + reason(error))
    if why is not None:
        return CertifierEnded(id=key, status="skipped", reason=why)
    known = {record.sample for record in shared.journal.of(CertifiedSample) if record.id == key}
    lost = shared.care.lost
    wanted = [index for index in store.correct() if store.answers[index].goals != () and index not in lost]
    shared.observer(Phase(f"certificate {planned.key}", counted(len(wanted), "sample")))
    errors = []
    for index in wanted:
        if index in known:
            continue
        if shared.stop():
            return CertifierEnded(id=key, status="partial", reason="the audit was interrupted")
        record = _prove(planned, subject, ball, store, index)
        shared.journal.append(record)
        if record.error is not None:
            errors.append(record.error)
    if errors:
        return CertifierEnded(id=key, status="failed", reason=failed + errors[0])
    return CertifierEnded(id=key, status="done", reason=None)


def _prove(
    planned: PlannedCertificate, subject: Subject, ball: Ball, store: SampleStore, index: int
) -> CertifiedSample:
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
    return CertifiedSample(
        id=planned.key,
        sample=index,
        proved=proved,
        margin=margin if math.isfinite(margin) else None,
        seconds=time.perf_counter() - start,
        error=problem,
    )
