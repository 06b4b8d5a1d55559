"""What went wrong in an audit, as a result lists it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from robaudit.audit.journal.auxiliary import problems_in
from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.journal.records.samples import CertifiedSample, CleanSample, LostSample
from robaudit.audit.journal.tally import Tally
from robaudit.audit.result.sections.findings import AuditFailure

__all__ = ["failures"]


def failures(
    tally: Tally, clean: Mapping[int, CleanSample], journal: Journal, worker: str | None
) -> Iterator[AuditFailure]:
    """All that went wrong; ``worker``: why the worker failed, or None."""
    if worker is not None:
        yield AuditFailure(where="worker", message=worker)
    for key, problem in problems_in(journal).items():
        yield AuditFailure(where=key.rpartition(" ")[0], message=problem)
    for lost in journal.of(LostSample):
        yield AuditFailure(where="model", message=lost.message, sample=lost.name)
    known = lost_in(journal)
    for record in clean.values():
        if record.error and record.index not in known:
            yield AuditFailure(where="data", message=record.error, sample=record.id)
    yield from _of_attacks(tally, clean, known)
    for proof in journal.of(CertifiedSample):
        if proof.error is not None:
            where, sample = f"certificate {proof.id}", clean[proof.sample].id
            yield AuditFailure(where=where, message=proof.error, sample=sample)
    for check in journal.keyed(CheckEnded, "id").values():
        if check.failed is not None:
            yield AuditFailure(where=f"check {check.id}", message=check.failed)


def _of_attacks(tally: Tally, clean: Mapping[int, CleanSample], lost: Mapping[int, str]) -> Iterator[AuditFailure]:
    for attack in tally.attacks:
        if attack.status == "failed":
            yield AuditFailure(where="attack", message=attack.reason or "", attack=attack.key)
        for sample, result in tally.best[attack.key].items():
            if result.error and result.error != lost.get(sample):
                yield AuditFailure(where="attack", message=result.error, sample=clean[sample].id, attack=attack.key)
