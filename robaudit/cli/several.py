"""What commands that run several audits side by side share: their progress, and their reports."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robaudit.audit.defenses.comparing import Told
    from robaudit.audit.journal.events import Observer

__all__ = ["checked_reports", "told_on_stderr"]


def told_on_stderr(no_progress: bool) -> Told:
    """Says on stderr which audit begins, how far it is, and what went wrong beside it."""
    from robaudit.audit.defenses.comparing import Told
    from robaudit.cli.output import model_says, say
    from robaudit.report.progress import progress
    from robaudit.report.words import plain

    @contextlib.contextmanager
    def beginning(what: str) -> Iterator[Observer]:
        say(f"audit {what}")
        with progress(sys.stderr, enabled=not no_progress, verbose=False) as observer:
            yield observer

    return Told(beginning, lambda message: say(f"robaudit: warning: {plain(message, 2000)}"), model_says)


def checked_reports(paths: Sequence[Path], model: Path, suffixes: Sequence[str], what: str) -> Sequence[Path]:
    """Reports that can be written; ``what``: they are of, for messages.

    Raises:
        UsageError: one cannot, or would replace the model.
    """
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_outputs

    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"{what} is written as {', '.join(suffixes)}, not as {path.name!r}")
    check_outputs(paths, [("the model", model)])
    return paths
