"""An audit as ``robaudit scan`` runs it: progress on stderr, the report on stdout and in files, an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.audit.journal.events import Event, Note, Observer, Plan
from robaudit.audit.run.asking import carry_out
from robaudit.audit.run.rundir import command_of
from robaudit.audit.stored.signing import read_private
from robaudit.cli.output import config_words, for_a_reader, say, write_json, write_lines
from robaudit.report.deliver import deliver
from robaudit.report.progress import progress
from robaudit.report.sentences import day_words, verdict_line
from robaudit.report.terminal import print_report
from robaudit.report.words import plain
from robaudit.target.running.device import choose_device

if TYPE_CHECKING:
    from robaudit.audit.config.request import AuditRequest
    from robaudit.audit.result.document import Result

__all__ = ["audit_and_report"]


def audit_and_report(
    request: AuditRequest,
    *,
    as_json: bool,
    quiet: bool,
    live: bool,
    verbose: bool,
    config: str | None = None,
) -> int:
    """Run the audit, and report it as asked.

    Args:
        request: what to audit; its settings tell the run directory, the report files, and what decides the exit code.
        as_json: stdout gets the result as JSON.
        quiet: stdout gets the verdict on one line, stderr no progress.
        live: show progress.
        verbose: show more progress; list every sample.
        config: the ``robaudit.yaml`` that counts, which is reported unless ``quiet``.

    Returns:
        The exit code of the verdict.

    Raises:
        UsageError: the request is refused.
        AuditError: the audit ended before anything could be reported, or a report cannot be written.
    """
    choose_device(request.settings.device)
    settings = request.settings
    key = None if settings.sign is None else Path(settings.sign)
    if key is not None:
        read_private(key)  # a file that is no key is reported before the audit
    with progress(sys.stderr, enabled=live and not quiet, verbose=verbose) as observer:
        told = _Telling(observer, config if not quiet else None, live=live)
        result, folder = carry_out(request, told, _warn)
    told.tell()
    if result.target.reading.disputed is not None:
        _warn(plain(result.target.reading.disputed))
    if result.run.shown_again is not None and not quiet:
        when = day_words(result.run.finished)
        say(f"this audit was finished on {when} and is shown again; --fresh audits anew")
    try:
        with for_a_reader():
            _print(result, folder, as_json=as_json, quiet=quiet, verbose=verbose)
    finally:  # a stdout that takes nothing costs no report
        deliver(result, folder, settings.output, key, say)
    if not quiet:
        say(f"run directory: {folder}")
    return result.verdict.exit_code


def _print(result: Result, folder: Path, *, as_json: bool, quiet: bool, verbose: bool) -> None:
    """The result on stdout."""
    if as_json:
        write_json(json.loads(result.to_json()))
    elif quiet:
        write_lines([plain(verdict_line(result))])
    else:
        print_report(result, sys.stdout, samples=verbose, command=command_of(folder, result.run.id))


class _Telling:
    """Passes events on; with the plan, when nothing is refused any more, it says which ``robaudit.yaml`` counts."""

    def __init__(self, observer: Observer, config: str | None, *, live: bool) -> None:
        self._observer, self._live, self._config = observer, live, config

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Plan) and self._live and self._config is not None:
            self._observer(Note(config_words(self._config)))
            self._config = None
        self._observer(event)

    def tell(self) -> None:
        """Say it now, unless it was said."""
        if self._config is not None:
            say(config_words(self._config))


def _warn(message: str) -> None:
    say(f"robaudit: warning: {message}")
