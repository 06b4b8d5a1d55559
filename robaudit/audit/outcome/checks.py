"""What a result says of the checks: each judged anew from what it measured."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded, Evaluations
from robaudit.audit.result.sections.findings import Check
from robaudit.audit.verdict.check_facts import plug_in
from robaudit.checks.base import Check as AnyCheck
from robaudit.checks.base import Finding
from robaudit.checks.registry import check_class, make_check

__all__ = ["check_sections", "wavers"]


def check_sections(request: AuditRequest, journal: Journal, *, spent: bool) -> tuple[Check, ...]:
    """All checks of the profile; ``spent``: it was the time budget that ended the audit."""
    found = []
    records = journal.keyed(CheckEnded, "id")
    for name, settings in request.profile.checks.items():
        check, ended = make_check(name, settings), records.get(name)
        finding = _finding(check, ended, spent=spent)
        cost = Evaluations() if ended is None else ended.cost
        found.append(
            Check(
                id=name,
                status=finding.status,
                value=finding.value,
                threshold=finding.threshold,
                message=finding.message,
                plug_in=plug_in(type(check)),
                forwards=cost.forwards,
                backwards=cost.backwards,
                queries=cost.queries,
                judge_queries=cost.judged,
            )
        )
    return tuple(found)


def _finding(check: AnyCheck, ended: CheckEnded | None, *, spent: bool) -> Finding:
    if ended is None:
        return Finding("skipped", sentence(Cause.ENDED, spent=spent))
    return check.verdict(ended.measured or {}) if ended.failed is None else Finding("fail", ended.failed)


def wavers(checks: Sequence[Check]) -> bool:
    """Whether the same audit may come out differently."""
    return any(check.status == "fail" and check_class(check.id).facts.voids_repetition for check in checks)
