"""Supervises the worker: passes its events on, restarts it once if it is killed, stops it on Ctrl-C."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from robaudit.audit import worker
from robaudit.audit.events import Finished, Note, Observer
from robaudit.audit.journal import Journal
from robaudit.audit.request import AuditRequest
from robaudit.errors import UsageError

__all__ = ["Outcome", "supervise"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 60.0
"""Seconds that a worker told to stop has for it."""


@dataclass
class Outcome:
    """How the worker ended.

    Args:
        journal: everything finished, of this and earlier sessions.
        interrupted: by Ctrl-C or SIGTERM.
        failure: why the audit could not be completed, or None.
    """

    journal: Journal
    interrupted: bool
    failure: str | None


class _Interrupts:
    """Ctrl-C and SIGTERM: the first asks the worker to stop, the second ends it at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        previous = {s: signal.signal(s, self) for s in SIGNALS}
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)


@contextlib.contextmanager
def _deferred() -> Iterator[None]:
    """Signals wait; a process started meanwhile has them blocked, and so cannot die before it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, which a process's first start causes, would unblock them
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def supervise(request: AuditRequest, folder: Path, journal: Journal, observer: Observer) -> Outcome:
    """Run an audit to its end in a worker process.

    Args:
        request: what to audit.
        folder: the claimed run directory.
        journal: of that directory, loaded.
        observer: told of progress; called in this process.

    Raises:
        UsageError: the input is refused before the audit.
    """
    interrupts = _Interrupts()
    failure: str | None = None
    with interrupts.installed():
        for restarted in (False, True):
            process, connection = _start(request, folder, restarted)
            failed = _follow(process, connection, journal, observer, interrupts)
            if failed is not None and failed.usage:
                raise UsageError(failed.message)
            failure = failed.message if failed else None
            if failed is not None or process.exitcode == 0:
                break
            if journal.failure is None:  # it may have written what it could no longer send
                journal = Journal(folder)
                journal.load()
            if interrupts.count:
                break
            failure = f"the worker process was killed ({_cause(process.exitcode)})"
            if restarted or journal.failure is not None:
                failure += " twice" if restarted else ""
                break
            note = f"{failure}; it was started once more with half the batch"
            journal.append({"kind": "note", "message": note})
            observer(Note(note, "warning"))
    observer(Finished())
    return Outcome(journal, interrupts.count > 0, failure)


def _start(request: AuditRequest, folder: Path, restarted: bool) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=worker.main, args=(request, folder, theirs, restarted), name="robaudit-worker")
    with _deferred():
        process.start()
    theirs.close()
    return process, ours


def _follow(
    process: SpawnProcess,
    connection: Connection,
    journal: Journal,
    observer: Observer,
    interrupts: _Interrupts,
) -> worker.Failed | None:
    """Take messages until the worker ends."""
    failed: worker.Failed | None = None
    told, deadline = 0, float("inf")
    while True:
        if interrupts.count > told:
            if told == 0:
                deadline = time.monotonic() + PATIENCE
                observer(Note("stopping; what is finished is kept (again to stop at once)", "warning"))
                with contextlib.suppress(OSError):
                    connection.send("stop")
            else:
                process.kill()
            told = interrupts.count
        if time.monotonic() > deadline:
            process.kill()
        try:
            if not connection.poll(0.1):
                if not process.is_alive() and not connection.poll(0):
                    break
                continue
            message = connection.recv()
        except (EOFError, OSError):
            break
        except Exception:  # a message cut off by a kill
            process.kill()
            break
        if isinstance(message, worker.Recorded):
            journal.receive(message.record, message.point)
            journal.failure = message.unwritten
        elif isinstance(message, worker.Failed):
            failed = message
        else:
            observer(message)
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    return failed


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    hint = ", likely out of memory" if name == "SIGKILL" else ""
    return name + hint
