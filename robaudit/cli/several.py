"""What commands that run several audits side by side share: their progress, and their reports."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from robaudit.audit.journal.events import Observer
    from robaudit.audit.several.running import Told
    from robaudit.report.several import SideBySide

__all__ = ["SUFFIXES", "checked_reports", "delivered", "told_on_stderr"]

SUFFIXES = (".json", ".html", ".txt")


def told_on_stderr(no_progress: bool) -> Told:
    """Says on stderr which audit begins, how far it is, and what went wrong beside it."""
    from robaudit.audit.several.running import Told
    from robaudit.cli.output import model_says, say
    from robaudit.report.progress import progress
    from robaudit.report.words import plain

    @contextlib.contextmanager
    def beginning(what: str) -> Iterator[Observer]:
        say(f"audit {what}")
        with progress(sys.stderr, enabled=not no_progress, verbose=False) as observer:
            yield observer

    return Told(beginning, lambda message: say(f"robaudit: warning: {plain(message, 2000)}"), model_says)


def checked_reports(paths: Sequence[Path], model: Path, what: str) -> Sequence[Path]:
    """Reports that can be written; ``what``: they are of, for messages.

    Raises:
        UsageError: one cannot, or would replace the model.
    """
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_outputs

    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{what} is written as {', '.join(SUFFIXES)}, not as {path.name!r}")
    check_outputs(paths, [("the model", model)])
    return paths


def delivered(page: SideBySide, format: str, reports: Sequence[Path]) -> NoReturn:
    """Show a page on stdout, write its reports, and end with its exit code.

    Args:
        page: what was found.
        format: of stdout: text or json.
        reports: files, by whose endings they are written.
    """
    from robaudit.cli.output import columns, for_a_reader, say, write_json
    from robaudit.files import write_atomic
    from robaudit.report.html.several import several_page

    found = page.found
    with for_a_reader():
        if format == "json":
            write_json(json.loads(found.to_json()))
        else:
            sys.stdout.write(page.text(columns() or 160))
    for path in reports:
        suffix = path.suffix.lower()
        text = found.to_json() if suffix == ".json" else several_page(page) if suffix == ".html" else page.text()
        write_atomic(path, text)
        say(f"wrote {path}")
    raise typer.Exit(found.exit_code)
