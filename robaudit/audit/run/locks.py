"""Who works in a run directory: one audit at a time, on one machine or on several that share a file system.

On one machine the kernel's lock decides, and frees itself when the process ends, however it ends; no process id is
asked about. File systems of a network may keep such locks to each machine. Whoever holds the directory therefore writes
its machine and a count that goes up; another machine waits as long as the count may take to go up, and compares no
clocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from robaudit.audit.ownfiles import open_own, read_own
from robaudit.errors import AuditError, UsageError
from robaudit.files import write_atomic

__all__ = ["HOLDER", "held", "locked"]

HOLDER = "run.holder.json"
BEAT = 4.0
"""Seconds between two counts."""
PATIENCE = 4 * BEAT
"""Seconds without a count after which another machine's audit is over."""
DIGITS = 12


@contextlib.contextmanager
def locked(folder: Path, name: str, *, wait: float) -> Iterator[None]:
    """Hold a lock of the run directory among the processes of this machine.

    Raises:
        UsageError: another process holds it for longer than ``wait`` seconds, or it cannot be made.
    """
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise UsageError(f"another robaudit is working in {folder}; wait for it or use --run-dir") from error
    except (OSError, NotImplementedError) as error:
        why = error.strerror if isinstance(error, OSError) else "its file system has no locks"
        raise UsageError(f"the run directory {folder} cannot be used: {why}; choose another with --run-dir") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run directory, whose lock this process has, among the machines that share its file system.

    Raises:
        UsageError: another machine's robaudit works in it.
    """
    path = folder / HOLDER
    _wait_for_others(folder)
    over = threading.Event()
    with contextlib.suppress(AuditError):  # a full disk, which the audit tells of
        write_atomic(path, _content(0))
        threading.Thread(target=_count, args=(path, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with contextlib.suppress(OSError):
            path.unlink()


def _machine() -> str:
    """Tells kernels apart, within which a lock holds: containers of one machine share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return platform.node()


def _content(count: int) -> str:
    # of one length, so that counting takes no room on the disk
    about = {"machine": _machine(), "host": platform.node(), "process": os.getpid()}
    return json.dumps({**about, "count": f"{count:0{DIGITS}d}"}) + "\n"


def _count(path: Path, over: threading.Event) -> None:
    count = 0
    while not over.wait(BEAT):
        count += 1
        with contextlib.suppress(OSError), open_own(path, "r+b") as file:
            file.write(_content(count).encode())


def _wait_for_others(folder: Path) -> None:
    """Return once no other machine counts any more."""
    first = _other(folder)
    end = time.monotonic() + PATIENCE
    while first is not None and time.monotonic() < end:
        time.sleep(BEAT / 8)
        now = _other(folder)
        if now is None:
            return
        if now != first:
            raise UsageError(
                f"another robaudit is working in {folder}, on the machine {now[0]}; wait for it or use --run-dir"
            )


def _other(folder: Path) -> tuple[str, str] | None:
    """Name and count of another machine that holds the directory, or held it and was ended; None: there is none."""
    try:
        content = json.loads(read_own(folder / HOLDER, 2**16))
        if content["machine"] == _machine():
            return None  # the lock has decided
        return str(content["host"]), str(content["count"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
