"""Supervises the worker: passes its events on, restarts it once if it is killed, stops it on Ctrl-C."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
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
        previous = {s: signal.signal(s, self) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)


def supervise(request: AuditRequest, folder: Path, observer: Observer) -> Outcome:
    """Run an audit to its end in a worker process.

    Args:
        request: what to audit.
        folder: the prepared and locked run directory.
        observer: told of progress; called in this process.

    Raises:
        UsageError: the input is refused before the audit.
    """
    journal = _from_disk(folder)
    interrupts = _Interrupts()
    failure: str | None = None
    with interrupts.installed():
        for batch_scale in (1.0, 0.5):
            process, connection = _start(request, folder, batch_scale)
            failed = _follow(process, connection, journal, observer, interrupts)
            if failed is not None and failed.usage:
                raise UsageError(failed.message)
            failure = failed.message if failed else None
            killed = failed is None and process.exitcode != 0
            if not killed or interrupts.count:
                break
            journal = _from_disk(folder)  # what it wrote and could no longer send
            failure = f"the worker process was killed ({_cause(process.exitcode)})"
            if batch_scale == 1.0:
                observer(Note(f"{failure}; it is started once more with half the batch", "warning"))
            else:
                failure += " twice"
    observer(Finished())
    return Outcome(journal, interrupts.count > 0, failure)


def _from_disk(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.load()
    return journal


def _start(request: AuditRequest, folder: Path, batch_scale: float) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=worker.main, args=(request, folder, theirs, batch_scale), name="robaudit-worker")
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
    told, waited = 0, 0.0
    while True:
        if interrupts.count > told:
            told = interrupts.count
            if told == 1:
                observer(Note("stopping; what is finished is kept (again to stop at once)", "warning"))
                with contextlib.suppress(OSError):
                    connection.send("stop")
            else:
                process.kill()
        try:
            if not connection.poll(0.1):
                waited += 0.1 if told else 0.0
                if waited > PATIENCE:
                    process.kill()
                if not process.is_alive() and not connection.poll(0):
                    break
                continue
            message = connection.recv()
        except (EOFError, OSError):
            break
        except Exception:  # a message cut off by a kill
            break
        if isinstance(message, worker.Recorded):
            journal.receive(message.record, message.point)
        elif isinstance(message, worker.Failed):
            failed = message
        else:
            observer(message)
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
