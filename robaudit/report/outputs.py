"""Report files that could not be written, or would take the place of something else, are refused before the work."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from robaudit.audit.ownfiles import strange
from robaudit.errors import UsageError
from robaudit.files import PART
from robaudit.report.registry import format_of, is_ours

__all__ = ["check_output", "check_outputs"]

READ = (".csv", ".json")
"""Suffixes of our reports that a data folder may hold files of its own with; those of other formats may be any."""


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse a report that could not be written.

    Raises:
        UsageError: unknown suffix, a folder that is missing or not writable, a name that is too long, or something
            there that a report may not replace.
    """
    target = Path(path)
    format_of(target)
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(f"the folder {str(folder)!r} of the report {target.name!r} does not exist")
    try:
        what = "a folder" if target.is_dir() else None if target.is_symlink() else strange(target)
        if what is None and target.exists() and not (os.access(target, os.W_OK) and _replaceable(target)):
            what = "a file that you may not write"
        if what is None:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=PART):
                return
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the report {str(target)!r} cannot be written there: {why}") from error
    raise UsageError(f"the report {str(target)!r} cannot be written there: it is {what}")


def _replaceable(target: Path) -> bool:
    """Whether a file may be replaced: in a folder such as ``/tmp`` that of another user may not."""
    folder, user = target.parent.stat(), getattr(os, "geteuid", lambda: 0)()
    return not folder.st_mode & stat.S_ISVTX or user in (0, folder.st_uid, target.lstat().st_uid)


def check_outputs(paths: Iterable[str | os.PathLike[str]], inputs: Iterable[tuple[str, Path | None]]) -> None:
    """Refuse reports of which one could not be written, would replace another, or a file that is read.

    Args:
        paths: of the reports.
        inputs: each a file or folder that is read, with what it is; None: not given.

    Raises:
        UsageError: as :func:`check_output`, or a path is named twice, or is that of an input.
    """
    seen: dict[Path, str] = {}
    read = [(what, path) for what, path in inputs if path is not None]
    for path in paths:
        check_output(path)
        target = Path(path)
        place = Path(os.path.realpath(target.parent)) / target.name
        if place in seen:
            raise UsageError(f"the report {str(target)!r} is named twice, as {seen[place]!r} before")
        seen[place] = str(target)
        for what, source in read:
            if _same(target, source):
                raise UsageError(f"the report {str(target)!r} would replace {what}; name it otherwise")


def _same(target: Path, source: Path) -> bool:
    """Whether a report would replace a file that is read, or one in a folder that is read."""
    try:
        if source.is_dir():
            inside = Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(source))
            mine = is_ours(format_of(target)) and target.suffix.lower() not in READ
            return inside and target.exists() and not mine
        return target.exists() and source.exists() and target.samefile(source)
    except OSError:
        return False
