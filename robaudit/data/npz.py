"""NumPy's files, read without trust: no pickles, and no array that memory does not hold."""

from __future__ import annotations

import contextlib
import math
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.files import open_regular, sha256_of
from robaudit.memory import afford

__all__ = ["Arrays", "open_arrays", "read_npy"]


class Arrays:
    """The arrays of an ``.npz`` by name, each read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, file: IO[bytes]) -> None:
        self._archive, self._path, self._file = archive, path, file
        self._members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if len(self._members) < len(archive.namelist()):  # which one counts would depend on the reader
            names = Counter(name.removesuffix(".npy") for name in archive.namelist())
            raise ValueError(f"it holds two arrays named {next(n for n, count in names.items() if count > 1)!r:.60}")

    @property
    def files(self) -> list[str]:
        """The names."""
        return list(self._members)

    def digest(self) -> str:
        """SHA-256 of the file that the arrays are read from."""
        return sha256_of(self._file, self._path)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array, from its header alone.

        Raises:
            KeyError: there is no such array.
            ValueError: it is none.
        """
        with self._archive.open(self._members[name]) as file:
            return _header(file)[0]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """An array.

        Raises:
            KeyError: there is no such array.
            UsageError: memory does not hold it, or it holds texts that are none.
            ValueError: it is none, or holds Python objects, which are code.
        """
        with self._archive.open(self._members[name]) as file:
            _check(file, f"the array {name} of {self._path}")
        with self._archive.open(self._members[name]) as file:
            array = _read(file)
        if array.dtype.kind == "U" and array.dtype.itemsize and array.size:
            code = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
            if int(array.ravel().view(code).max()) > sys.maxunicode:
                raise UsageError(f"the array {name} of {self._path} holds numbers that stand for no character")
        return array


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """The arrays of an ``.npz``.

    Raises:
        UsageError: it is no ordinary file.
        OSError, zipfile.BadZipFile, ValueError: it cannot be read, is no archive, or has two arrays of one name.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        yield Arrays(archive, path, file)


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an ``.npy``.

    Raises:
        UsageError: it is no ordinary file, or memory does not hold it.
        OSError, ValueError: it cannot be read, or is no array.
    """
    with open_regular(path) as file:
        _check(file, f"the array in {path}")
        file.seek(0)
        return _read(file)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    major = np.lib.format.read_magic(file)[0]
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _check(file: IO[bytes], what: str) -> None:
    shape, dtype = _header(file)
    afford(math.prod(shape) * dtype.itemsize, what)


def _read(file: IO[bytes]) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
