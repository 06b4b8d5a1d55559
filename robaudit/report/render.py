"""Writing a report: the suffix picks the format, the longest one that fits (``.cdx.json`` before ``.json``).

A format is a module of this package with ``SUFFIXES`` and ``render(result) -> str``; adding one file adds it, and
``formats.py`` lists it for help texts. One whose ``render`` takes ``run`` is given the run directory too.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import robaudit.report
from robaudit.audit.result.document import Result
from robaudit.errors import UsageError
from robaudit.files import write_atomic

__all__ = ["Renderer", "renderer_of", "renderers", "write_report"]

Renderer: TypeAlias = Callable[..., str]


@functools.cache
def renderers() -> dict[str, Renderer]:
    """The renderer of each suffix."""
    found: dict[str, Renderer] = {}
    for module in pkgutil.iter_modules(robaudit.report.__path__, robaudit.report.__name__ + "."):
        if module.name == __name__:
            continue
        loaded = importlib.import_module(module.name)
        for suffix in getattr(loaded, "SUFFIXES", ()):
            found[suffix] = loaded.render
    return found


def renderer_of(path: Path) -> Renderer:
    """The renderer of a report file.

    Raises:
        UsageError: no format has its suffix.
    """
    known, name = renderers(), path.name.lower()
    fitting = [suffix for suffix in known if path.suffix and name.endswith(suffix)]
    if not fitting:
        raise UsageError(f"no report format for {str(path)!r}: its suffix must be {', '.join(sorted(known))}")
    return known[max(fitting, key=len)]


def write_report(result: Result, path: str | os.PathLike[str], run: Path | None = None) -> None:
    """Render a result into a file, whole or not at all.

    Args:
        result: to report.
        path: whose suffix names the format.
        run: the folder that holds the result and its evidence, or None.

    Raises:
        UsageError: no format has this suffix.
        AuditError: the file cannot be written.
    """
    target = Path(path)
    render = renderer_of(target)
    given = {"run": run} if "run" in inspect.signature(render).parameters else {}
    write_atomic(target, render(result, **given))
