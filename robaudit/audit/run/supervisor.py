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
from robaudit.audit.journal.records.session import BudgetSpent, Remark
from robaudit.audit.outcome.budget import was_spent
from robaudit.audit.process.child import Child
from robaudit.audit.process.messages import Failed
from robaudit.audit.process.starting import SIGNALS
from robaudit.audit.run import worker
from robaudit.audit.run.again import Again, Ending
from robaudit.audit.run.limits import confinement_of
from robaudit.audit.session.start import Start
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


@dataclass(frozen=True)
class _Times:
    """When a session with a time budget of so many ``seconds`` begins nothing more (``deadline``), and when it is ended
    (``hard``), by the system's monotonic clock; None: it has no limit."""

    seconds: float | None = None
    deadline: float | None = None
    hard: float | None = None

    @classmethod
    def within(cls, seconds: float | None) -> _Times:
        """Of a session that begins now."""
        if seconds is None:
            return cls()
        deadline = time.monotonic() + seconds
        return cls(seconds, deadline, deadline + max(GRACE, GRACE_SHARE * seconds))

    @property
    def over(self) -> bool:
        """Whether nothing more is begun."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def ended(self) -> bool:
        """Whether what was begun is ended too."""
        return self.hard is not None and time.monotonic() > self.hard

    def overrun(self, ending: Ending) -> str:
        """Why a worker was ended that went on for too long."""
        late = 0.0 if self.hard is None or self.deadline is None else self.hard - self.deadline
        words = f" {ending.at_work.words}" if ending.at_work.words else ""
        return f"the audit went on for more than {late:g} s after its time budget{words}"


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
    times = _Times.within(request.time_budget)
    again = Again()
    with interrupts.installed():
        while True:
            start = Start(again.halved, times.deadline, again.suspects)
            child = Child(worker.main, (request, folder, journal.key, start), confinement_of(request, folder))
            try:
                ending = _Following(child, journal, observer, interrupts, times).to_its_end()
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
                journal.append(BudgetSpent(seconds=times.seconds))
                failure = times.overrun(ending)
                break
            decided = again.after(ending, request, journal)
            if isinstance(decided, str):
                failure = decided
                break
            journal.append(Remark(message=decided.note))
            observer(Note(decided.note, "warning"))
            again = decided
    observer(Finished())
    return Outcome(journal, interrupts.count > 0, failure)


class _Following:
    """Takes a worker's messages until it ends, and ends it where it must.

    Args:
        child: the worker.
        journal: takes its records.
        observer: told of its events.
        interrupts: of the user.
        times: of the session.
    """

    def __init__(
        self, child: Child, journal: Journal, observer: Observer, interrupts: _Interrupts, times: _Times
    ) -> None:
        self._child = child
        self._journal = journal
        self._observer = observer
        self._interrupts = interrupts
        self._times = times
        self._ending = Ending()
        self._told = 0
        """Interrupts that the worker was told of."""
        self._patience = float("inf")
        """When a worker that was told to stop is ended."""
        self._busy = 0.0
        """Seconds that the call took for which it was ended."""

    def to_its_end(self) -> Ending:
        """How it ended."""
        while True:
            self._stop_where_asked()
            self._end_where_over()
            for line in self._child.said.lines():
                self._observer(ModelOutput(line))
            if not self._take_message():
                return self._ended()

    def _stop_where_asked(self) -> None:
        """The first interrupt asks the worker to stop, and the second ends it; so does a worker that does not stop."""
        child, count = self._child, self._interrupts.count
        if count > self._told:
            if self._told == 0:
                self._patience = time.monotonic() + PATIENCE
                told = "stopping; what is finished is kept (again to stop at once)"
                self._observer(Note(told, "warning"))
                with contextlib.suppress(OSError):
                    child.connection.send("stop")
            else:
                child.process.kill()
            self._told = count
        stuck = self._told and (child.pulse.stalled() or not self._ending.loaded)
        if time.monotonic() > self._patience or stuck:
            child.process.kill()

    def _end_where_over(self) -> None:
        """End a worker that loads for too long, is past the time budget, or in which the model hangs."""
        child, ending = self._child, self._ending
        if not ending.loaded and child.late():
            ending.late = True
            child.process.kill()
        if self._times.ended:
            ending.over = True
            child.process.kill()
        child.watch()
        if not ending.hung and (child.pulse.overdue or (self._times.over and child.pulse.stalled(STALL))):
            ending.hung, self._busy = True, child.pulse.busy
            child.process.kill()

    def _take_message(self) -> bool:
        """Wait for a message shortly, and take it; False: there will be no more."""
        child, connection = self._child, self._child.connection
        try:
            if not connection.poll(0.1):
                return child.process.is_alive() or connection.poll(0)
            message = connection.recv()
        except (EOFError, OSError):
            return False
        except Exception:  # a message cut off by a kill
            child.process.kill()
            return False
        if isinstance(message, worker.Recorded):
            self._journal.receive(message.record, message.point, message.unwritten)
        elif isinstance(message, Failed):
            self._ending.failed = message
        else:
            if isinstance(message, Phase) and message.name == LOADING:
                child.begin_loading()
            self._ending.loaded |= isinstance(message, Phase) and message.name != LOADING
            self._observer(message)
        return True

    def _ended(self) -> Ending:
        """What became of the process."""
        child, ending, process = self._child, self._ending, self._child.process
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
            ending.at_work = replace(ending.at_work, limit=min(ending.at_work.limit, round(self._busy)))
        return ending
