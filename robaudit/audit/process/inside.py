"""What a process does first: it confines itself, and only then imports and runs its task."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from robaudit.audit.process import sandbox
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.process.messages import Failed, unexpected
from robaudit.audit.process.starting import SIGNALS
from robaudit.target.running.watch import Watch

__all__ = ["enter"]

FOLDERS = ("TMPDIR", "TEMP", "TMP", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")
"""Variables that name places for temporary files and caches."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""
LARGEST = 1 << 30
"""Bytes of a file that a child without a run directory may write."""


def enter(confinement: Confinement, task: bytes, connection: Connection, printed: Connection) -> None:
    """Entry point of the process: confine it, then unpickle and run ``function(connection, watch, *arguments)``."""
    # Ctrl-C, and the end of a terminal, go to the whole group; the parent decides.
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    _print_into(printed)
    _be_killed_with_parent()
    try:
        _confine(confinement)
    except Exception as error:
        with contextlib.suppress(OSError):
            connection.send(Failed(f"--sandbox: {error}" if confinement.sandbox == "required" else str(error), True))
        return
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        function, arguments = pickle.loads(task)  # imports what it needs, which may be more than the memory allowed
    except Exception as error:
        connection.send(unexpected(error))
        return
    function(connection, Watch(confinement.pulse, confinement.call, confinement.first), *arguments)


def _print_into(pipe: Connection) -> None:
    """What is printed, by Python or by the code of a runtime, goes to the parent alone, who cleans it."""
    to = os.open(os.devnull, os.O_WRONLY) if os.name == "nt" else pipe.fileno()
    for standard in (1, 2):
        os.dup2(to, standard)
    pipe.close()
    for name, standard in (("stdout", 1), ("stderr", 2)):
        # by lines, as a process that is killed writes nothing more
        stream = open(standard, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def _confine(confinement: Confinement) -> None:
    faulthandler.enable(confinement.crash.open("wb"))
    for name in FOLDERS:
        os.environ[name] = confinement.scratch
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not confinement.writable:
            _lower(resource.RLIMIT_FSIZE, LARGEST)
        if confinement.memory is not None and not confinement.gpu:
            _lower(resource.RLIMIT_DATA, confinement.memory)
    writable = (confinement.scratch, *confinement.writable)
    sandbox.confine(confinement.sandbox, writable, sockets=confinement.gpu, ports=confinement.ports)


def _lower(which: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def _be_killed_with_parent() -> None:
    """Where the system can do it, whatever code is at work here then."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with_parent() -> None:
    """End at once when the parent is gone, however it went."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
