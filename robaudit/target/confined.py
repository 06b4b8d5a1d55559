"""Reads files that an untrusted model names: from its own folder alone, ordinary files alone, race-free."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from robaudit.errors import UsageError

__all__ = ["available_memory", "open_regular", "opened_within", "read_within"]

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Without blocking, so that a pipe in place of a file is seen and not waited for."""
_STEPWISE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Open an ordinary file, whatever links lead to it.

    Raises:
        UsageError: it is a pipe, a device or anything else that is no file.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, _FLAGS)
    with _file(descriptor, path) as file:
        yield file


def _file(descriptor: int, name: object) -> IO[bytes]:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{name} is no ordinary file; refused")
    return os.fdopen(descriptor, "rb")


def read_within(model: Path, location: str, offset: int, length: int | None) -> bytes:
    """Bytes of a file that a model names, which must lie in the model's folder.

    Args:
        model: the file that names it.
        location: relative path, as written in the model.
        offset, length: the part to read; None reads to the end.

    Raises:
        UsageError: it is missing, too short, outside of the folder, or reached through a symbolic link.
    """
    try:
        with opened_within(model, location) as file:
            size = file.seek(0, os.SEEK_END)
            if offset + (length or 0) > size:
                raise UsageError(
                    f"{model} wants {length or 0} bytes at {offset} of {location!r}, which has only {size}; export it "
                    "again"
                )
            file.seek(offset)
            return file.read(-1 if length is None else length)
    except FileNotFoundError as error:
        raise UsageError(f"{model} needs its external data {location!r} beside it, which is missing") from error
    except OSError as error:
        raise UsageError(f"the external data of {model}, {location!r}, cannot be read: {error.strerror}") from error


def opened_within(model: Path, location: str) -> IO[bytes]:
    """Open a file that a model names; see :func:`read_within`.

    Raises:
        UsageError: it may not be read.
        OSError: it cannot be opened.
    """
    return _opened(model, location, _parts(model, location))


def _parts(model: Path, location: str) -> tuple[str, ...]:
    outside = (
        not isinstance(location, str)  # protobuf gives bytes where they are no text
        or not location
        or "\0" in location
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).anchor
        or ".." in PurePosixPath(location).parts
        or (os.name == "nt" and ".." in PureWindowsPath(location).parts)
    )
    parts = () if outside else PurePosixPath(location).parts
    if not parts:
        raise UsageError(f"{model} wants weights from {location!r}, outside of its folder; refused")
    return parts


def _opened(model: Path, location: str, parts: tuple[str, ...]) -> IO[bytes]:
    link = UsageError(
        f"{model} wants weights from {location!r}, which is or lies behind a symbolic link; put the files themselves "
        "into one folder"
    )
    folder = model.parent
    if not _STEPWISE:  # Windows: no way to open a path without following links
        for depth in range(1, len(parts) + 1):
            if folder.joinpath(*parts[:depth]).is_symlink():
                raise link
        return _file(os.open(folder.joinpath(*parts), _FLAGS), location)
    # One component at a time, none of them a link: nobody can swap one between a check and its use.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, name in enumerate(parts):
            last = place == len(parts) - 1
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise link
            flags = _FLAGS | os.O_NOFOLLOW | (0 if last else os.O_DIRECTORY)
            following = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
        opened, descriptor = descriptor, -1
        return _file(opened, location)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


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
