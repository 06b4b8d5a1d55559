"""Markdown that shows texts as they are: escaping, tables, lists, blocks of code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from robaudit.printable import printable
from robaudit.report.paths import without_folders
from robaudit.report.words import plain

__all__ = ["bullets", "code", "escaped", "table"]

SPECIAL = re.compile(r"[\\`*_\[\]|~#!<>$&@]|:(?=//)|(?<=[wW]{3})\.|^[-+=]|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)")
"""What Markdown or one of its readers acts on: markup, addresses that become links without any, lists and rules."""
AS_ENTITY = "<>$&@"
BROKEN_UP = "@#!:."
"""What readers look for after Markdown is done, mentions, numbers of issues and addresses; a comment breaks it up."""


def escaped(text: object, limit: int = 500) -> str:
    """Text that Markdown shows as it is: on one line, each special character escaped."""
    safe = plain(without_folders(str(text)), limit)
    return SPECIAL.sub(lambda found: _escape(found[0]), safe)


def _escape(sign: str) -> str:
    shown = f"&#{ord(sign)};" if sign in AS_ENTITY else f"\\{sign}"
    return f"{shown}<!-- -->" if sign in BROKEN_UP else shown


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of cells that are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * len(heads))} |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def code(text: str) -> list[str]:
    """A block of code, in which nothing is markup; its fence is longer than any that the text holds."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [fence, printable(without_folders(text)), fence, ""]


def bullets(items: Iterable[str]) -> list[str]:
    """A list of plain texts."""
    return [*(f"- {escaped(item, 1000)}" for item in items), ""]
