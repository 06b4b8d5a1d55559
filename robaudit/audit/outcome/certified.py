"""What a result says of certificates, from the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import CertifierEnded
from robaudit.audit.journal.records.samples import CertifiedSample
from robaudit.audit.plan.certificates import plan_certificates
from robaudit.audit.result.document import Certificate, Certified, Proved
from robaudit.stats.rates import rate

__all__ = ["certified_section", "proofs_of"]

STATEMENT = (
    "no input of the ball, as wide as the judge takes it, makes the file answer otherwise: of the operators that its "
    "graph has, run in float32 with sums in any order"
)


def certified_section(request: AuditRequest, journal: Journal, *, spent: bool) -> Certified | None:
    """All certifiers with what became of them; what they proved, the samples tell. None where none was asked for."""
    if not request.profile.certificates:
        return None
    outcomes = journal.keyed(CertifierEnded, "id")
    took: dict[str, float] = defaultdict(float)
    for record in journal.of(CertifiedSample):
        took[record.id] += record.seconds
    found = []
    for planned in plan_certificates(request.profile):
        ended = outcomes.get(planned.key)
        unended: Literal["partial", "not run"] = "partial" if planned.key in took else "not run"
        found.append(
            Certificate(
                id=planned.key,
                name=planned.name,
                status=unended if ended is None else ended.status,
                reason=sentence(Cause.ENDED, spent=spent) if ended is None else ended.reason,
                parameters=planned.parameters,
                norm=planned.threat.norm.value,
                eps=planned.threat.eps,
                seconds=round(took[planned.key], 3),
            )
        )
    return Certified(statement=STATEMENT, certificates=tuple(found), lower_bound=rate(0, 0))


def proofs_of(request: AuditRequest, journal: Journal) -> Mapping[int, tuple[Proved, ...]]:
    """What certifiers found of each sample that they were tried on, in the order of the plan."""
    if not request.profile.certificates:
        return {}
    found: dict[int, dict[str, Proved]] = defaultdict(dict)
    for record in journal.of(CertifiedSample):
        if record.error is None:
            found[record.sample][record.id] = Proved(by=record.id, proved=record.proved, margin=record.margin)
    keys = [planned.key for planned in plan_certificates(request.profile)]
    return {sample: tuple(each[key] for key in keys if key in each) for sample, each in found.items()}
