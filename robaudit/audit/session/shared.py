"""What all parts of a session use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robaudit.audit.journal.events import Note, Observer, silent
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.session import Remark
from robaudit.engine.care import NO_CARE, Care
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Shared"]


@dataclass(frozen=True)
class Shared:
    """What all parts of a session use.

    Args:
        journal: takes what is finished, and holds what earlier sessions finished.
        observer: notified of progress.
        stop: whether nothing new may begin.
        care: samples that the model does not answer, and those that are asked alone.
        watch: notified of each call of a model.
    """

    journal: Journal
    observer: Observer = silent
    stop: Callable[[], bool] = lambda: False
    care: Care = NO_CARE
    watch: Watch = UNWATCHED

    def note(self, message: str) -> None:
        """Say something in the result, and to the user while it runs."""
        self.journal.append(Remark(message=message))
        self.observer(Note(message, "warning"))
