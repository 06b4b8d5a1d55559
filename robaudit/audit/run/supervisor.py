"""Supervises the worker: passes its events on, ends it where a model hangs, restarts it, stops it on Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import LOADING, Finished, ModelOutput, Note, Observer, Phase
from robaudit.audit.journal.journal import Journal
from robaudit.audit.outcome.budget import was_spent
from robaudit.audit.process.child import Child
from robaudit.audit.process.messages import Failed
from robaudit.audit.process.starting import SIGNALS
from robaudit.audit.run import worker
from robaudit.audit.run.again import Again, Ending
from robaudit.audit.run.limits import confinement_of
from robaudit.errors import UsageError

__all__ = ["Outcome", "supervise"]

PATIENCE = 60.0
"""Seconds that a worker told to stop has for it."""
GRACE, GRACE_SHARE = 60.0, 0.1
"""Seconds after the time budget, or a share of it, in which an audit ends what is begun, and writes its evidence."""
STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that count even where the caller ignores them."""
STALL = 10.0
"""Seconds that a call may take after the time budget, unless calls usually take as long."""


@dataclass
class Outcome:
    """How the worker ended.

    Args:
        journal: everything finished, of this and earlier sessions.
        interrupted: by Ctrl-C, SIGTERM or SIGHUP.
        failure: why the audit could not be completed, or None.
    """

    journal: Journal
    interrupted: bool
    failure: str | None


class _Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP: the first asks the worker to stop, the second ends it at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals meanwhile; only the main thread can: an audit in another one goes on to its end."""
        main = threading.current_thread() is threading.main_thread()
        wanted = [s for s in SIGNALS if s in STOPPING or signal.getsignal(s) is not signal.SIG_IGN]  # ``nohup``
        previous = {s: signal.signal(s, self) for s in (wanted if main else ())}
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
        observer: notified of progress; called in this process.

    Raises:
        UsageError: the input is refused before the audit.
    """
    interrupts = _Interrupts()
    failure: str | None = None
    budget = request.time_budget
    deadline = None if budget is None else time.monotonic() + budget
    hard = None if budget is None or deadline is None else deadline + max(GRACE, GRACE_SHARE * budget)
    again = Again()
    with interrupts.installed():
        while True:
            arguments = (request, folder, journal.key, again.halved, deadline, again.suspects)
            child = Child(worker.main, arguments, confinement_of(request, folder))
            try:
                ending = _follow(child, journal, observer, interrupts, deadline, hard)
            finally:
                child.close()
                for line in child.said.rest():
                    observer(ModelOutput(line))
            failed = ending.failed
            if failed is not None and failed.usage:
                raise UsageError(failed.message)
            failure = failed.message if failed else None
            if failure is None and was_spent(journal):  # before it was known which sample it was
                failure = again.unsolved
            if failed is not None or child.process.exitcode == 0:
                break
            if journal.failure is None:  # it may have written what it could no longer send
                journal = journal.reopened()
            if interrupts.count:
                break
            if ending.over:
                journal.append({"kind": "budget", "seconds": budget})
                failure = f"the audit went on for more than {hard - deadline:g} s after its time budget"  # type: ignore[operator]
                failure += f" {ending.at_work.words}" if ending.at_work.words else ""
                break
            decided = again.after(ending, request, journal)
            if isinstance(decided, str):
                failure = decided
                break
            journal.append({"kind": "note", "message": decided.note})
            observer(Note(decided.note, "warning"))
            again = decided
    observer(Finished())
    return Outcome(journal, interrupts.count > 0, failure)


def _follow(
    child: Child,
    journal: Journal,
    observer: Observer,
    interrupts: _Interrupts,
    deadline: float | None,
    hard: float | None,
) -> Ending:
    """Take messages until the worker ends; ``deadline``: after which it begins nothing; ``hard``: when it is ended."""
    process, connection = child.process, child.connection
    ending = Ending()
    told, patience, seconds = 0, float("inf"), 0.0
    while True:
        if interrupts.count > told:
            if told == 0:
                patience = time.monotonic() + PATIENCE
                observer(Note("stopping; what is finished is kept (again to stop at once)", "warning"))
                with contextlib.suppress(OSError):
                    connection.send("stop")
            else:
                process.kill()
            told = interrupts.count
        if time.monotonic() > patience or (told and (child.pulse.stalled() or not ending.loaded)):
            process.kill()
        if not ending.loaded and child.late():
            ending.late = True
            process.kill()
        if hard is not None and time.monotonic() > hard:
            ending.over = True
            process.kill()
        child.watch()
        after_budget = deadline is not None and time.monotonic() > deadline
        if not ending.hung and (child.pulse.overdue or (after_budget and child.pulse.stalled(STALL))):
            ending.hung, seconds = True, child.pulse.busy
            process.kill()
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
            if isinstance(message, Phase) and message.name == LOADING:
                child.begin_loading()
            ending.loaded |= isinstance(message, Phase) and message.name != LOADING
            observer(message)
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
    ending.how = child.ended()
    ending.too_large = child.too_large
    ending.killed_from_outside = process.exitcode == -9 and not (ending.late or ending.hung or child.too_large)
    ending.crashed = process.exitcode is not None and process.exitcode < 0 and process.exitcode != -9
    ending.at_work = child.pulse.at_work()
    if ending.hung:
        ending.at_work = replace(ending.at_work, limit=min(ending.at_work.limit, round(seconds)))
    return ending
