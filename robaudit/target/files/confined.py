"""Reads files that an untrusted model names: from its own folder alone, ordinary files alone, race-free."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Self

from robaudit.errors import UsageError
from robaudit.files import READ_FLAGS, FileState, check_known, open_regular, regular, sha256_of, state_of, steady

__all__ = ["Neighbours", "open_regular", "opened_within"]

_STEPWISE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


class Neighbours:
    """The files that a model names, each opened once; to be closed.

    Args:
        model: the file that names them.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._opened: dict[str, tuple[IO[bytes], FileState]] = {}

    def read(self, location: str, offset: int, length: int | None) -> bytes:
        """Bytes of a file, which must lie in the model's folder.

        Args:
            location: relative path, as written in the model.
            offset, length: the part to read; None reads to the end.

        Raises:
            UsageError: it is missing, too short, outside of the folder, or reached through a symbolic link.
        """
        model = self._model
        try:
            if location not in self._opened:
                opened = opened_within(model, location)
                self._opened[location] = opened, state_of(opened)
            file = self._opened[location][0]
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

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that was read, by its name in the model.

        Raises:
            ChangedFileError: one was changed since it was opened, or is not what the audit began with.
        """
        found = {}
        for location, (file, before) in self._opened.items():
            path = self._model.parent / location
            with steady(file, path, before):
                found[location] = sha256_of(file)
            check_known(path, found[location])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file, _ in self._opened.values():
            file.close()


def opened_within(model: Path, location: str) -> IO[bytes]:
    """Open a file that a model names; see :meth:`Neighbours.read`.

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
        return regular(os.open(folder.joinpath(*parts), READ_FLAGS), location)
    # One component at a time, none of them a link: nobody can swap one between a check and its use.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, name in enumerate(parts):
            last = place == len(parts) - 1
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise link
            flags = READ_FLAGS | os.O_NOFOLLOW | (0 if last else os.O_DIRECTORY)
            following = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
        opened, descriptor = descriptor, -1
        return regular(opened, location)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
