"""The worker process: loads the file and audits, sending events and records to the supervisor."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Event
from robaudit.audit.process.messages import Failed, unexpected
from robaudit.audit.session.start import Start
from robaudit.errors import RobauditError
from robaudit.target.running.watch import Watch

if TYPE_CHECKING:
    from robaudit.audit.journal.records.kinds import AnyRecord

__all__ = ["Recorded", "main"]


@dataclass(frozen=True)
class Recorded:
    """A record was added to the journal.

    Args:
        record: as written.
        point: its point, only if the disk did not take it; ``unwritten``: why the disk takes nothing more.
    """

    record: AnyRecord
    point: NDArray[Any] | None = None
    unwritten: str | None = None


def main(
    connection: Connection,
    watch: Watch,
    request: AuditRequest,
    folder: Path,
    key: bytes,
    start: Start,
) -> None:
    """What the process does once it is confined.

    Args:
        connection: events and records go out, ``stop`` comes in.
        watch: notified of each call of a model.
        request: what to audit.
        folder: the run directory.
        key: of its journal.
        start: with what care it begins.
    """
    stopped = threading.Event()
    threading.Thread(target=_listen, args=(connection, stopped), daemon=True).start()
    lock = threading.Lock()

    def send(message: Event | Recorded | Failed) -> None:
        with lock, contextlib.suppress(BrokenPipeError, OSError):
            connection.send(message)

    from robaudit.audit.journal.journal import Journal
    from robaudit.audit.run.locks import locked
    from robaudit.audit.run.rundir import WORKER_LOCK
    from robaudit.audit.session.session import Session
    from robaudit.memory import keep_freed_memory

    keep_freed_memory()
    try:
        with locked(folder, WORKER_LOCK, wait=1.0):
            journal = Journal(folder, key=key)
            journal.load()
            journal.listener = lambda record, point, unwritten: send(Recorded(record, point, unwritten))
            Session(request, folder, journal, send, stopped.is_set, start, watch).run()
    except RobauditError as error:
        send(Failed(str(error), error.exit_code == 2))
    except Exception as error:
        send(unexpected(error))
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _listen(connection: Connection, stopped: threading.Event) -> None:
    try:
        while connection.recv() != "stop":
            pass
    except (EOFError, OSError):
        return
    stopped.set()
