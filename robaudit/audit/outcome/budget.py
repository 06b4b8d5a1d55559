"""A limit on the time of an audit: what was not begun is reported as not tried, never as robust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robaudit.audit.journal.records.session import BudgetSpent, SessionBegun

if TYPE_CHECKING:
    from robaudit.audit.journal.journal import Journal
    from robaudit.audit.result.document import Result

__all__ = ["was_spent", "with_budget"]


def was_spent(journal: Journal) -> bool:
    """Whether the time of the last session was over before its work was."""
    for record in reversed(journal.records):
        if isinstance(record, BudgetSpent | SessionBegun):
            return isinstance(record, BudgetSpent)
    return False


def with_budget(draft: Result, seconds: float | None, journal: Journal) -> Result:
    """A result that says what the limit on its time did to it.

    Args:
        draft: built from the journal.
        seconds: that one session might take, None: no limit.
        journal: of the run.
    """
    if seconds is None:
        return draft
    spent = was_spent(journal)
    run = draft.run.model_copy(
        update={"time_budget": seconds, "budget_spent": spent, "reproducible": draft.run.reproducible and not spent}
    )
    return draft.model_copy(update={"run": run})
