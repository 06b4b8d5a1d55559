"""Readers of data: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import zipfile
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

import robaudit.data
from robaudit.data.reader import Reader, Source, Wanted
from robaudit.errors import RobauditError, UsageError, on_one_line, reason

__all__ = ["ENTRY_POINT", "check_source", "is_ours", "open_source", "reader_of", "readers"]

ENTRY_POINT = "robaudit.data"
OURS = "robaudit."

T = TypeVar("T")


@functools.cache
def readers() -> tuple[Reader, ...]:
    """Every reader, others' first: they may take a folder that ours would take for one of images.

    Raises:
        UsageError: an installed package's reader cannot be imported, is not one, or takes files of a suffix that is
            taken.
    """
    ours = []
    for module in pkgutil.iter_modules(robaudit.data.__path__, robaudit.data.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Reader) and "name" in vars(cls) and cls.__module__ == module.name:
                ours.append(cls())
    others = {type(reader): reader for reader in map(_entered, entry_points(group=ENTRY_POINT))}
    found = (*others.values(), *ours)
    taken: dict[str, Reader] = {}
    for reader in reversed(found):
        for suffix in reader.suffixes:
            if suffix in taken:
                places = " and ".join(type(each).__module__ for each in (taken[suffix], reader))
                raise UsageError(f"two readers of data take files of suffix {suffix!r} ({places}); uninstall one")
            taken[suffix] = reader
    return found


def _entered(entry: EntryPoint) -> Reader:
    try:
        cls = entry.load()
        made = cls() if inspect.isclass(cls) and issubclass(cls, Reader) else None
    except (Exception, SystemExit) as error:
        why = on_one_line(error)
        raise UsageError(f"the installed reader of data {entry.value!r} cannot be imported: {why}") from error
    if made is None:
        raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a Reader class")
    return made


def reader_of(path: Path) -> Reader:
    """Who reads what lies there.

    Raises:
        UsageError: there is nothing, or nothing that anybody reads.
    """
    if not path.exists():
        raise UsageError(f"there is no data at {path}")
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"{path} is no ordinary file; refused")
    found = [reader for reader in readers() if _asked(reader, path, lambda reader: reader.takes(path))]
    others = [reader for reader in found if not is_ours(reader)]
    if len(others) > 1:
        places = " and ".join(type(reader).__module__ for reader in others)
        raise UsageError(f"two readers take the data {path} ({places}); uninstall one")
    if not found:
        *most, last = [reader.name for reader in reversed(readers())]
        raise UsageError(f"{path} is neither {', '.join(most)} nor {last}")
    return found[0]


def check_source(path: Path) -> Reader:
    """Refuse what cannot be data, or is too large, without reading it; else who reads it.

    Raises:
        UsageError: as :func:`reader_of`, and as the reader finds.
    """
    reader = reader_of(path)
    try:
        _asked(reader, path, lambda reader: reader.check(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    return reader


def open_source(path: Path, wanted: Wanted) -> Source:
    """Open data.

    Raises:
        UsageError: it cannot be used, in one sentence.
    """
    reader = check_source(path)
    return _asked(reader, path, lambda reader: reader.open(path, wanted))


def is_ours(reader: Reader) -> bool:
    """Whether it is part of robaudit."""
    return type(reader).__module__.startswith(OURS)


def _asked(reader: Reader, path: Path, ask: Callable[[Reader], T]) -> T:
    """What a reader does; what goes wrong in one of another package is a sentence that names it."""
    try:
        return ask(reader)
    except RobauditError:
        raise
    except Exception as error:
        if is_ours(reader):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UsageError(f"{path} cannot be read by {type(reader).__module__}, for {reader.name}: {what}") from error
