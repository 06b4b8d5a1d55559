"""What the processes before this one ended on: samples that the model does not answer, or one of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robaudit.audit.journal.journal import Journal

__all__ = ["NO_CARE", "Care", "lost_in"]


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
