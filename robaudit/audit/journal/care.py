"""What the processes before this one ended on: samples that the model does not answer, or one of several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records import Record

__all__ = ["NO_CARE", "Care", "lost_in", "retried"]

NAMED = 8
"""Most samples that are named."""


@dataclass(frozen=True)
class Care:
    """How samples are to be handled.

    Args:
        lost: samples that the model hangs or crashes on, with the sentence that says so; they are not asked again.
        suspects: one of these is such a sample, so that each is asked alone.
    """

    lost: Mapping[int, str] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()


NO_CARE = Care()


def lost_in(journal: Journal) -> dict[int, str]:
    """The lost samples of a journal, and why."""
    return {record["sample"]: record["message"] for record in journal.of("lost")}


def retried(journal: Journal, request: AuditRequest) -> str | None:
    """Take back what a call of the model cost that took too long, where ``--call-timeout`` allows more than it had.

    All else that was finished counts as before. A sequential audit keeps what its looks were decided on.

    Returns:
        What is asked again, in a sentence, which goes into the journal too; None where nothing is.
    """
    allowed = request.call_timeout or math.inf
    if request.until_decided:
        return None
    samples = {r["sample"]: r["name"] for r in journal.of("lost") if _had_less(r, allowed)}
    checks = [name for name, r in journal.keyed("check", "id").items() if r.get("unanswered") and _had_less(r, allowed)]
    if not samples and not checks:
        return None
    names = list(samples.values())[:NAMED] + (["…"] if len(samples) > NAMED else []) + [f"check {c}" for c in checks]
    if samples:  # any check may have missed them
        checks = [id for id, r in journal.keyed("check", "id").items() if not r.get("unanswered") or id in checks]
    journal.append({"kind": "retry", "samples": list(samples), "checks": checks})
    message = f"--call-timeout allows more than before: tried again where the model did not answer ({', '.join(names)})"
    journal.append({"kind": "note", "message": message})
    return message


def _had_less(record: Record, seconds: float) -> bool:
    return record.get("limit") is not None and record["limit"] < seconds
