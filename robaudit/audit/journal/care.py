"""What the processes before this one ended on: samples that the model does not answer, or one of several."""

from __future__ import annotations

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import LostSample

__all__ = ["lost_in"]


def lost_in(journal: Journal) -> dict[int, str]:
    """The lost samples of a journal, and why."""
    return {record.sample: record.message for record in journal.of(LostSample)}
