"""A limit on the time of an audit: what it did not come to is told as not tried, never as robust."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from robaudit.errors import UsageError

if TYPE_CHECKING:
    from robaudit.audit.journal.journal import Journal
    from robaudit.audit.result.document import Result

__all__ = ["ALWAYS", "parse_duration", "was_spent", "with_budget"]

ALWAYS = ("clean", "evidence")
"""Checks that are carried out after the time is over too: without them nothing that was found could be told."""
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)?", re.IGNORECASE)
FACTORS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
HALTED = ("the audit was interrupted", "the audit ended before it")
SPENT = "the time budget was spent"

LONGEST = 10 * 365 * 86400.0


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1h30m`` or a plain number of seconds.

    Raises:
        UsageError: it is none of these, or nothing.
    """
    seconds, rest = 0.0, text.strip()
    while rest:
        part = PART.match(rest)
        if part is None or (part[2] is None and (seconds > 0 or part.end() < len(rest))):
            raise UsageError(f"a time budget is written as 90s, 10m or 1h30m, not {text!r}")
        seconds += float(part[1]) * FACTORS[(part[2] or "s").lower()]
        rest = rest[part.end() :].lstrip()
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"a time budget is above 0 and at most ten years, and not {text[:40]!r}")
    return seconds


def was_spent(journal: Journal) -> bool:
    """Whether the time of the last session was over before its work was."""
    for record in reversed(journal.records):
        if record["kind"] in ("budget", "session"):
            return bool(record["kind"] == "budget")
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
    if not spent:
        return draft.model_copy(update={"run": run})
    attacks = tuple(
        attack.model_copy(update={"reason": SPENT}) if attack.reason in HALTED else attack for attack in draft.attacks
    )
    checks = tuple(
        check.model_copy(update={"message": SPENT}) if check.message in HALTED else check for check in draft.checks
    )
    return draft.model_copy(update={"run": run, "attacks": attacks, "checks": checks})
