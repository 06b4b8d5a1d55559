"""A model file that is opened once: what is checked, what its digest is of, and what is loaded are the same bytes.

A small file is copied into memory that nobody else can reach. Of a large one the descriptor is kept, so that another
file at its path changes nothing, and its state tells whether somebody wrote into it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from robaudit.errors import ChangedFileError, UsageError
from robaudit.files import MIB, READ_FLAGS, check_known, is_settled, regular, sha256_of, state_of, steady

__all__ = ["HeldFile"]

SMALL = 64 * MIB
"""Bytes of a file that is copied."""
DESCRIPTORS = "/proc/self/fd/{}"
"""Paths of open files."""
WAIT = 0.06
"""Seconds after which a change gets another time than those before."""


class HeldFile:
    """An ordinary file, opened and kept open.

    Args:
        path: of the file.

    Raises:
        UsageError: it cannot be read, or is no ordinary file.
        ChangedFileError: it changes meanwhile, or is not what the audit began with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            opened = regular(os.open(path, READ_FLAGS), path)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
        if not is_settled(state_of(opened), time.time_ns()):
            time.sleep(WAIT)
        with steady(opened, path):
            copy = _private_copy(opened)
            self.file = opened if copy is None else copy
            self.sha256 = sha256_of(self.file)
        self.size = os.fstat(self.file.fileno()).st_size
        check_known(path, self.sha256)
        self._state = state_of(self.file)
        if copy is not None:
            opened.close()

    @cached_property
    def loadable(self) -> str:
        """A path for those who open files by themselves: it leads to this file, where the system has such paths."""
        own = DESCRIPTORS.format(self.file.fileno())
        return own if _leads_to(own, self.file) else str(self.path)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Read or load something of the file.

        Raises:
            ChangedFileError: it is not, or no longer, what it was when it was opened.
        """
        self._check()
        try:
            yield
        except Exception as error:
            try:
                self._check()
            except ChangedFileError as changed:
                raise changed from error
            raise
        self._check()

    def _check(self) -> None:
        by_path = self.loadable == str(self.path)
        if state_of(self.file) != self._state or (by_path and not _leads_to(self.loadable, self.file)):
            raise ChangedFileError(
                f"{self.path} was changed while it was in use; what was checked is not what it holds now: run the "
                "command again"
            )

    def words(self, error: object) -> str:
        """What an error says, with the file's own path."""
        return str(error).replace(self.loadable, str(self.path))


def _private_copy(file: IO[bytes]) -> IO[bytes] | None:
    """A small file in memory that is sealed against changes, by whomever; None where there can be none."""
    if os.fstat(file.fileno()).st_size > SMALL or not hasattr(os, "memfd_create"):
        return None
    import fcntl

    try:
        copy = os.fdopen(os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
        if not _leads_to(DESCRIPTORS.format(copy.fileno()), copy):
            copy.close()
            return None
        size, place = os.fstat(file.fileno()).st_size, 0
        while place < size and (count := os.sendfile(copy.fileno(), file.fileno(), place, size - place)):
            place += count
        seals: Any = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(copy.fileno(), fcntl.F_ADD_SEALS, seals)
    except OSError:  # a system without, or without memory for it
        return None
    return copy


def _leads_to(path: str, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False
