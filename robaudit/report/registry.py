"""Formats by suffix: ours, found by walking this package, and others', through entry points.

Help and completion list the suffixes alone, and must be quick: those of our formats are read off the text of their
files, and an entry point is called by its suffix (``prom`` for ``.prom``). Only the format that a report asks for is
imported, so that a package that is broken costs no other report.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import robaudit.report
from robaudit.errors import UsageError, on_one_line
from robaudit.report.base import Format

__all__ = ["ENTRY_POINT", "format_of", "formats", "is_ours", "suffixes"]

ENTRY_POINT = "robaudit.formats"
DECLARED = re.compile(r"^FORMAT = Format\($.*?^    suffixes=(\([^)]*\)),$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class _Offer:
    """Somebody's format for a suffix, not imported yet."""

    place: str
    """Names it in messages: a module, or MODULE:NAME of an installed package."""
    load: Callable[[], Any]


def suffixes() -> list[str]:
    """Every suffix that a report may have, in alphabetical order; imports no format."""
    return sorted(_offers())


def format_of(path: Path) -> Format:
    """The format of a report file: that of the longest suffix that fits.

    Raises:
        UsageError: no format has its suffix, two packages offer one, or the installed one cannot be used.
    """
    name, known = path.name.lower(), suffixes()
    fitting = [suffix for suffix in known if path.suffix and name.endswith(suffix)]
    if not fitting:
        raise UsageError(f"no report format for {str(path)!r}: its suffix must be {', '.join(known)}")
    return _loaded(max(fitting, key=len))


def is_ours(format: Format) -> bool:
    """Whether it is part of robaudit."""
    return format.render.__module__.startswith("robaudit.")


def formats() -> dict[str, Format]:
    """The format of every suffix, imported.

    Raises:
        UsageError: as :func:`format_of`.
    """
    return {suffix: _loaded(suffix) for suffix in suffixes()}


@functools.cache
def _offers() -> dict[str, tuple[_Offer, ...]]:
    """Who offers a format for each suffix: one, unless packages clash."""
    found: dict[str, dict[str, _Offer]] = {}
    for module in pkgutil.iter_modules(robaudit.report.__path__, robaudit.report.__name__ + "."):
        load = functools.partial(_declared, module.name)
        for suffix in _suffixes_in(module.name):
            found.setdefault(suffix, {})[module.name] = _Offer(module.name, load)
    for entry in entry_points(group=ENTRY_POINT):
        suffix = f".{entry.name.lower().lstrip('.')}"
        load = functools.partial(_entered, entry, suffix)
        found.setdefault(suffix, {})[entry.value] = _Offer(entry.value, load)
    return {suffix: tuple(offers.values()) for suffix, offers in found.items()}


def _suffixes_in(name: str) -> tuple[str, ...]:
    """Suffixes that a module of ours declares, read off its text; it is imported where that does not tell."""
    spec = importlib.util.find_spec(name)
    source = getattr(spec.loader, "get_source", lambda _: None)(name) if spec is not None else None
    if source is not None and "FORMAT = Format(" not in source:
        return ()
    match = DECLARED.search(source or "")
    if match is None:
        declared = getattr(importlib.import_module(name), "FORMAT", None)
        return declared.suffixes if isinstance(declared, Format) else ()
    found: tuple[str, ...] = ast.literal_eval(match[1])
    return found


def _declared(name: str) -> Any:
    return importlib.import_module(name).FORMAT


def _entered(entry: EntryPoint, suffix: str) -> Format:
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        why = on_one_line(error)
        raise UsageError(f"the installed report format {entry.value!r} cannot be imported: {why}") from error
    if not isinstance(found, Format):
        raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a Format")
    if suffix not in found.suffixes:
        words = " or ".join(other.lstrip(".") for other in found.suffixes)
        raise UsageError(f"the entry point {entry.name!r} ({entry.value}) must be called by a suffix it has: {words}")
    return found


@functools.cache
def _loaded(suffix: str) -> Format:
    offers = _offers()[suffix]
    if len(offers) > 1:
        places = " and ".join(offer.place for offer in offers)
        raise UsageError(f"two report formats have the suffix {suffix!r} ({places}); uninstall one")
    found: Format = offers[0].load()
    return found
