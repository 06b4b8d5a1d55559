"""The run directory: named by what is audited and how, locked while an audit works in it."""

from __future__ import annotations

import errno
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from robaudit.audit.pictures import clear_pictures
from robaudit.errors import UsageError

__all__ = ["MARKER", "RESULT", "claimable", "claimed", "command_of", "locked", "model_of"]

RESULT = "result.json"
MARKER = "robaudit-run.json"
JOURNAL = "journal.jsonl"
FILES = (JOURNAL, "points.bin", RESULT, "evidence.npz", MARKER)
ORPHAN_SECONDS = 30.0
"""How long the worker of a killed audit may take to die."""


@contextmanager
def claimed(folder: Path, run_id: str, *, fresh: bool, kept: Mapping[str, str] | None = None) -> Iterator[None]:
    """Make the run directory, or take up the one that is there, and hold it.

    Args:
        folder: the directory.
        run_id: digest of what is audited and how.
        fresh: start over; only files that robaudit wrote are removed.
        kept: what else the directory keeps for itself, which no report tells: full paths, the command as given.

    Raises:
        UsageError: it cannot be written, holds another audit, or another audit works in it.
    """
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "run.lock", wait=1.0):
        with locked(folder, "worker.lock", wait=ORPHAN_SECONDS):
            pass
        with _explained(folder):
            _take_up(folder, run_id, fresh, kept or {})
        yield


def claimable(folder: Path, run_id: str, *, fresh: bool) -> None:
    """Refuse a run directory that :func:`claimed` would, and change nothing.

    Raises:
        UsageError: it cannot be written, holds another audit, or another audit works in it.
    """
    with _explained(folder):
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            code = errno.EEXIST if there == folder else errno.ENOTDIR
            raise OSError(code, os.strerror(code))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not folder.exists():
            return
        _fits(folder, run_id, fresh)
    if (folder / "run.lock").exists():
        with locked(folder, "run.lock", wait=1.0):
            pass


def _fits(folder: Path, run_id: str, fresh: bool) -> bool:
    """Whether what the directory holds is this audit's; False where it is to be cleared.

    Raises:
        UsageError: it is another's.
    """
    marker = folder / MARKER
    if not marker.exists():
        foreign = [name for name in FILES if (folder / name).exists()]
        if foreign:
            raise UsageError(f"{folder} holds a {foreign[0]} that is of no audit; choose another --run-dir")
        return True
    if fresh or not (folder / JOURNAL).exists():  # an audit that was refused left nothing
        return False
    if json.loads(marker.read_text()).get("run") != run_id:
        raise UsageError(
            f"{folder} holds another audit (of another file, data, profile, seed or version); choose another "
            "--run-dir, or --fresh to discard it"
        )
    return True


def _take_up(folder: Path, run_id: str, fresh: bool, kept: Mapping[str, str]) -> None:
    if not _fits(folder, run_id, fresh):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        clear_pictures(folder)
    (folder / MARKER).write_text(json.dumps({"run": run_id, **kept}) + "\n")


def model_of(folder: Path, run_id: str) -> Path | None:
    """Where the audited file lay, as the directory of this run keeps it; None where it does not tell."""
    try:
        kept = json.loads((folder / MARKER).read_text("utf-8"))
        return Path(kept["model"]) if kept["run"] == run_id else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def command_of(folder: Path, run_id: str) -> str | None:
    """The command that reproduces this run wherever it is pasted, as its directory keeps it; None where it does not."""
    try:
        kept = json.loads((folder / MARKER).read_text("utf-8"))
        if kept["run"] != run_id or not kept["command"]:
            return None
        return f"cd {shlex.quote(kept['folder'])} && {kept['command']}"
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its marker file is damaged"
        raise UsageError(
            f"the run directory {folder} cannot be used: {reason}; choose another with --run-dir"
        ) from error


@contextmanager
def locked(folder: Path, name: str, *, wait: float) -> Iterator[None]:
    """Hold a lock of the run directory; the system frees it when the process ends, however it ends.

    Raises:
        UsageError: another process holds it for longer than ``wait`` seconds, or it cannot be made.
    """
    lock = FileLock(folder / name)
    with _explained(folder):
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise UsageError(f"another robaudit is working in {folder}; wait for it or use --run-dir") from error
    try:
        yield
    finally:
        lock.release()
