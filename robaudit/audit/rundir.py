"""The run directory: named by what is audited and how, locked while an audit works in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from robaudit.errors import UsageError

__all__ = ["digest_of", "locked", "prepare", "sha256_file"]

MARKER = "robaudit-run.json"
FILES = ("journal.jsonl", "points.bin", "result.json", "evidence.npz", MARKER)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(content: Any) -> str:
    """SHA-256 of a JSON value, the same for every order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def prepare(folder: Path, run_id: str, *, fresh: bool) -> None:
    """Make the run directory, or take up the one that is there.

    Args:
        folder: the directory.
        run_id: digest of what is audited and how.
        fresh: start over; only files that robaudit wrote are removed.

    Raises:
        UsageError: it cannot be written, or holds another audit.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if fresh:
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
        if marker.exists():
            found = json.loads(marker.read_text()).get("run")
            if found != run_id:
                raise UsageError(
                    f"{folder} holds another audit (of another file, data, profile, seed or version); "
                    "choose another --run-dir, or --fresh to discard it"
                )
            return
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
        marker.write_text(json.dumps({"run": run_id}) + "\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its marker file is damaged"
        raise UsageError(
            f"the run directory {folder} cannot be used: {reason}; choose another with --run-dir"
        ) from error


@contextmanager
def locked(folder: Path, name: str, *, wait: float) -> Iterator[None]:
    """Hold a lock of the run directory; the system frees it when the process ends, however it ends.

    Raises:
        UsageError: another process holds it for longer than ``wait`` seconds.
    """
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise UsageError(f"another robaudit is working in {folder}; wait for it or use --run-dir") from error
    try:
        yield
    finally:
        lock.release()
