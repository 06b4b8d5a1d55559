"""From the audits with and without a defense to what it buys; pure."""

from __future__ import annotations

from collections.abc import Iterable

from robaudit.audit.defenses.behind import AskedBehind
from robaudit.audit.defenses.document import Weighed
from robaudit.audit.result.document import Result
from robaudit.audit.several.changes import changes
from robaudit.errors import AuditError

__all__ = ["ranked", "weighed"]


def weighed(bare: Result, behind: Result, asked: AskedBehind, folder: str) -> Weighed:
    """One defense; see :func:`changes`.

    Args:
        bare: the audit without a defense.
        behind: the audit behind it, on the same samples.
        asked: the examples of the first, shown behind the defense.
        folder: run directory of the second.

    Raises:
        AuditError: the two have no sample in common.
    """
    if behind.defense is None:
        raise AuditError("the audit behind a defense tells of none")
    found = changes(bare, behind, asked.fooled, behind.defense.words)
    return Weighed(
        defense=behind.defense,
        run=behind.run.id,
        folder=folder,
        clean=found.clean,
        plain=found.plain,
        adaptive=found.adaptive,
        false_security=found.false_security,
        transferred=(len(asked.fooled), len(asked.shown)),
        broken_by=found.broken_by,
        latency=asked.latency,
        complete=behind.run.complete,
        failed_checks=found.failed_checks,
        outcome=found.outcome,
    )


def ranked(rows: Iterable[Weighed]) -> tuple[Weighed, ...]:
    """The largest adaptive gain first; of equal ones that which loses least clean accuracy."""
    return tuple(sorted(rows, key=lambda row: (-(row.adaptive.difference or 0.0), -(row.clean.difference or 0.0))))
