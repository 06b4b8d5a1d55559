"""Supervises the worker: passes its events on, restarts it once if it is killed, stops it on Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from robaudit.audit import worker
from robaudit.audit.child import SIGNALS, Child, Failed, too_late
from robaudit.audit.events import Finished, ModelOutput, Note, Observer, Phase
from robaudit.audit.journal import Journal
from robaudit.audit.limits import confinement_of
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
        previous = {s: signal.signal(s, self) for s in SIGNALS}
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)


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
    deadline = None if request.time_budget is None else time.monotonic() + request.time_budget
    with interrupts.installed():
        for restarted in (False, True):
            child = Child(
                worker.main, (request, folder, journal.key, restarted, deadline), confinement_of(request, folder)
            )
            try:
                ending = _follow(child, journal, observer, interrupts)
            finally:
                child.close()
                for line in child.said.rest():
                    observer(ModelOutput(line))
            failed = ending.failed
            if failed is not None and failed.usage:
                raise UsageError(failed.message)
            failure = failed.message if failed else None
            if failed is not None or child.process.exitcode == 0:
                break
            if journal.failure is None:  # it may have written what it could no longer send
                journal = journal.reopened()
            if interrupts.count:
                break
            if not ending.loaded and not ending.killed_from_outside:
                failure = _not_loaded(request, ending)
                break
            failure = f"the worker process was killed ({ending.how})"
            if restarted or journal.failure is not None:
                failure += " twice" if restarted else ""
                break
            note = f"{failure}; it was started once more with half the batch"
            journal.append({"kind": "note", "message": note})
            observer(Note(note, "warning"))
    observer(Finished())
    return Outcome(journal, interrupts.count > 0, failure)


@dataclass
class _Ending:
    """How one worker ended.

    Args:
        failed: the error that it sent, or None.
        loaded: the file was loaded and had answered once.
        late: that took too long.
        how: the process ended, in words; ``killed_from_outside``: by a signal that no program raises in itself.
    """

    failed: Failed | None = None
    loaded: bool = False
    late: bool = False
    how: str = ""
    killed_from_outside: bool = False


def _not_loaded(request: AuditRequest, ending: _Ending) -> str:
    about = f"{request.model}" + (" or a surrogate" if request.surrogates else "")
    if ending.late:
        return too_late(about, request.load_timeout)
    return f"{about} could not be loaded: {ending.how}; nothing was audited"


def _follow(child: Child, journal: Journal, observer: Observer, interrupts: _Interrupts) -> _Ending:
    """Take messages until the worker ends."""
    process, connection = child.process, child.connection
    ending = _Ending()
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
        if not ending.loaded and child.late():
            ending.late = True
            process.kill()
        child.watch()
        for line in child.said.lines():
            observer(ModelOutput(line))
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
            journal.receive(message.record, message.point, message.unwritten)
        elif isinstance(message, Failed):
            ending.failed = message
        else:
            ending.loaded |= isinstance(message, Phase) and message.name != "loading"
            observer(message)
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    ending.how = child.ended()
    ending.killed_from_outside = process.exitcode == -9 and not (ending.late or child.too_large)
    return ending
