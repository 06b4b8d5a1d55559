"""Reads files that nobody vouches for: ordinary files alone, without waiting for a pipe, no more than was expected."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from robaudit.errors import AuditError, UsageError

__all__ = [
    "MIB",
    "PART",
    "READ_FLAGS",
    "afford",
    "available_memory",
    "digest_of",
    "open_regular",
    "read_regular",
    "regular",
    "sha256_file",
    "text_of",
    "write_atomic",
]

PART = ".robaudit-part-"
"""Begins the name of a file that is being written."""
MIB = 2**20
READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
"""Without blocking, so that a pipe in place of a file is seen and not waited for."""


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open an ordinary file, whatever links lead to it.

    Raises:
        UsageError: it is a pipe, a device or anything else that is no file.
        OSError: it cannot be opened.
    """
    with regular(os.open(path, READ_FLAGS), path) as file:
        yield file


def regular(descriptor: int, name: object) -> IO[bytes]:
    """An open descriptor as a file.

    Raises:
        UsageError: it is of no ordinary file; the descriptor is closed.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = "a folder" if stat.S_ISDIR(mode) else "a named pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
    raise UsageError(f"{name} is no ordinary file but {what}; refused")


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of an ordinary file.

    Args:
        path: of it.
        most: bytes that it may have.

    Raises:
        UsageError: it is no ordinary file, or larger.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        size = f"{most / MIB:.0f} MB" if most >= MIB else f"{most / 1024:.0f} kB"
        raise UsageError(f"{path} is larger than the {size} that such a file may have; refused")
    return content


def text_of(path: str | os.PathLike[str]) -> str:
    """A path as text that any encoding of Unicode takes; bytes that are no UTF-8 are escaped as in a URI (``%E9``)."""
    text = os.fspath(path)
    if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text):
        return text
    parts = (f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= part <= "\udfff" else part for part in parts)


def afford(needed: int, what: str) -> None:
    """Refuse what would take more memory than there is, before it is taken.

    Args:
        needed: bytes.
        what: would take them, as the subject of a sentence.

    Raises:
        UsageError: they are not free.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"{what} would take about {needed / 2**30:.1f} GB of memory, of which {free / 2**30:.1f} GB are free"
        )


def available_memory() -> int | None:
    """Bytes of memory that are free for this process, those of its control group considered; None where unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            found.append(max(int(Path(limit).read_text()) - int(Path(used).read_text()), 0))
    return min(found, default=None)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def digest_of(content: Any) -> str:
    """SHA-256 of a JSON value, the same for every order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def write_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the whole new one, never a part.

    Raises:
        AuditError: the file cannot be written.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=PART)
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise AuditError(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
