"""Why an attack or a check did not come to its end, as a code; the sentence is beside it, and nothing reads that."""

from __future__ import annotations

import enum

__all__ = ["Cause", "sentence"]


class Cause(enum.StrEnum):
    """Why something was not carried to its end."""

    INTERRUPTED = "interrupted"
    """The user or the system stopped the audit during it, or the time was over."""
    ENDED = "ended"
    """The audit ended before it was begun."""
    WORKER = "worker"
    """The process that carried it out ended during it."""
    UNTRIED = "untried"
    """It could not be carried out on any sample."""

    @property
    def halted(self) -> bool:
        """Whether more time would have brought it further."""
        return self in (Cause.INTERRUPTED, Cause.ENDED)


SENTENCES = {
    Cause.INTERRUPTED: "the audit was interrupted",
    Cause.ENDED: "the audit ended before it",
    Cause.WORKER: "the worker ended during it",
    Cause.UNTRIED: "it could not be carried out on any sample",
}
SPENT = "the time budget was spent"


def sentence(cause: Cause, *, spent: bool = False) -> str:
    """The cause in words; ``spent``: it was the time budget that ended the audit."""
    return SPENT if spent and cause.halted else SENTENCES[cause]
