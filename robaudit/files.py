"""Reads files that are not trusted: ordinary files alone, without waiting for a pipe, no more than was expected.

A file that changes while it is read is an error, and so is one that is no longer what an audit is named by.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from robaudit.errors import AuditError, ChangedFileError, UsageError

__all__ = [
    "MIB",
    "PART",
    "READ_FLAGS",
    "UNREAD",
    "FileState",
    "check_known",
    "digest_of",
    "held_to",
    "is_settled",
    "open_regular",
    "read_regular",
    "regular",
    "sha256_file",
    "sha256_of",
    "state_of",
    "steady",
    "text_of",
    "write_atomic",
]

FileState: TypeAlias = tuple[int, ...]
"""Device, inode, size, and when content and inode were changed last, in nanoseconds."""
UNREAD = "unread"
"""In place of the SHA-256 of a file that was there and could not be read."""
TICK = 50_000_000
"""Nanoseconds in which two changes may get the same time."""

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


@dataclass
class _Known:
    """What files must hold; ``seen``: the state in which each was found to hold it."""

    digests: Mapping[str, str | None]
    seen: dict[str, FileState] = field(default_factory=dict)


_KNOWN: ContextVar[_Known | None] = ContextVar("known", default=None)


@contextlib.contextmanager
def held_to(digests: Mapping[str, str | None]) -> Iterator[None]:
    """While this lasts, files are opened only if they are still what they were.

    Args:
        digests: SHA-256 by full path; None where there was no file, ``UNREAD`` where it could not be read. Of other
            files nothing is known.
    """
    outer = _KNOWN.get()
    token = _KNOWN.set(_Known(digests) if outer is None else _Known({**outer.digests, **digests}))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def check_known(path: str | os.PathLike[str], sha256: str) -> None:
    """Refuse what was read of a file that must hold something else.

    Raises:
        ChangedFileError: its SHA-256 is not the one that it is held to.
    """
    known, name = _KNOWN.get(), os.path.abspath(path)
    if known is None or known.digests.get(name, sha256) == sha256:
        return
    was = {None: "was not there", UNREAD: "could not be read"}.get(known.digests[name])
    was = was or "was another file (its SHA-256 differs)"
    raise ChangedFileError(f"{text_of(path)} {was} when the audit began; it is not used: run the command again")


def _check_opened(file: IO[bytes], path: str | os.PathLike[str]) -> None:
    """As :func:`check_known`; a file in the state in which it was checked is not read again."""
    known, name = _KNOWN.get(), os.path.abspath(path)
    if known is None or name not in known.digests:
        return
    state, now = state_of(file), time.time_ns()
    if known.seen.get(name) == state:
        return
    check_known(path, sha256_of(file))
    if is_settled(state, now) and state_of(file) == state:
        known.seen[name] = state


def sha256_of(file: IO[bytes], path: str | os.PathLike[str] | None = None) -> str:
    """SHA-256 of an open file's whole content, hexadecimal; it is left at its beginning.

    Args:
        file: open.
        path: that it was opened by, where :func:`open_regular` may have found the digest already.
    """
    known = None if path is None else _KNOWN.get()
    if known is not None and path is not None:
        name = os.path.abspath(path)
        if known.seen.get(name) == state_of(file) and (checked := known.digests[name]) is not None:
            return checked
    file.seek(0)
    digest = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
    file.seek(0)
    return digest


def state_of(file: IO[bytes]) -> FileState:
    """What tells, without reading, that an open file was changed: nobody can set back when its inode was."""
    about = os.fstat(file.fileno())
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def is_settled(state: FileState, now: int) -> bool:
    """Whether a change from ``now`` on (nanoseconds of the system's clock) would show in the state."""
    return max(state[3:]) < now - TICK


@contextlib.contextmanager
def steady(file: IO[bytes], path: str | os.PathLike[str], before: FileState | None = None) -> Iterator[None]:
    """Read an open file that must not change meanwhile.

    Args:
        file: open.
        path: of it.
        before: its state when it was opened; None: as it is now.

    Raises:
        ChangedFileError: it did, so that its parts may not fit each other.
    """
    before = before or state_of(file)
    try:
        yield
    except Exception as error:
        if not file.closed and state_of(file) != before:
            raise _changed(path) from error
        raise
    if state_of(file) != before:
        raise _changed(path)


def _changed(path: str | os.PathLike[str]) -> ChangedFileError:
    return ChangedFileError(f"{text_of(path)} was changed while it was read; run the command again once it is whole")


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str], *, peek: bool = False, most: int | None = None) -> Iterator[IO[bytes]]:
    """Open an ordinary file, whatever links lead to it, which must not change while it is open.

    Args:
        path: of it.
        peek: what is read decides nothing that is not found again, or checked, by who reads the file in earnest.
        most: bytes that it may have; None: no limit.

    Raises:
        UsageError: it is a pipe, a device or anything else that is no file, or larger.
        ChangedFileError: it changes, or is not what it is held to (:func:`held_to`).
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except ValueError as error:  # a null in the name
        raise OSError(errno.EINVAL, "no file has such a name", os.fspath(path)) from error
    with regular(descriptor, path) as file:
        if most is not None and os.fstat(descriptor).st_size > most:  # before its digest is taken, which reads it whole
            raise _too_large(path, most)
        if peek:
            yield file
            return
        with steady(file, path):
            _check_opened(file, path)
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
    with open_regular(path, most=most) as file:
        content = file.read(most + 1)
    if len(content) > most:  # as those of the system, which tell no size
        raise _too_large(path, most)
    return content


def _too_large(path: str | os.PathLike[str], most: int) -> UsageError:
    size = f"{most / MIB:.0f} MB" if most >= MIB else f"{most / 1024:.0f} kB"
    return UsageError(f"{text_of(path)} is larger than the {size} that such a file may have; refused")


def text_of(path: str | os.PathLike[str]) -> str:
    """A path as text that any encoding of Unicode takes; bytes that are no UTF-8 are escaped as in a URI (``%E9``)."""
    text = os.fspath(path)
    if text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text):
        return text
    parts = (f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= part <= "\udfff" else part for part in parts)


def sha256_file(path: Path, most: int | None = None) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        UsageError: it is no ordinary file, or has more bytes than ``most``.
        OSError: it cannot be read.
    """
    with open_regular(path, most=most) as file:
        return sha256_of(file, path)


def digest_of(content: Any) -> str:
    """SHA-256 of a JSON value, the same for every order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old file or the whole new one, never a part.

    Raises:
        AuditError: the file cannot be written.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=PART)
        with os.fdopen(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
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
