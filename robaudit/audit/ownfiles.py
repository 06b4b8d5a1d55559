"""Files that robaudit keeps for itself, in places where others may have put something else under their names."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import IO

from robaudit.files import READ_FLAGS

__all__ = ["open_own", "read_own", "strange"]

NO_LINK = READ_FLAGS | getattr(os, "O_NOFOLLOW", 0)
"""No link is followed, and no pipe waited for."""
KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def strange(path: Path) -> str | None:
    """What lies there in place of a regular file, such as ``a link``; None for a file, or where nothing lies."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return None
    return next((words for test, words in KINDS if test(mode)), "a device")


def open_own(path: Path, mode: str) -> IO[bytes]:
    """Open a regular file: ``rb``, ``r+b``, or ``ab``, which makes it where nothing lies.

    One with several names (hard links) gets a copy of its own before it is changed, so that the others stay as they
    are.

    Raises:
        OSError: it cannot be opened, or something else lies there.
    """
    flags = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT}[mode]
    descriptor = os.open(path, flags | NO_LINK, 0o666)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if mode != "rb" and about.st_nlink > 1:
        os.close(descriptor)
        copy = path.with_name(f".{path.name}.part")
        copy.unlink(missing_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)
        os.replace(copy, path)
        return open_own(path, mode)
    return os.fdopen(descriptor, mode)


def read_own(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, something else lies there, or it has more than ``most`` bytes.
    """
    with open_own(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content
