"""What several audits of one model come to side by side: the facts they share, a row each, and notes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.several.document import Row, SeveralAudits
from robaudit.report.console import NARROW, bullets, entries, facts, heading, indented
from robaudit.report.sentences import drawn_words
from robaudit.report.words import plain, rate_words, threat_words

__all__ = ["SideBySide", "broken_words", "outcome_words"]

WIDE = NARROW + 60
"""Columns below which the table is written as lists."""


def outcome_words(row: Row) -> str:
    """What one of them comes to, and whether that can be relied on."""
    if row.failed_checks:
        return "not to be relied on"
    return row.outcome if row.complete else f"{row.outcome} (incomplete)"


def broken_words(row: Row, where: str) -> str:
    """What broke samples in the audit with it, as the end of a sentence; ``where``: ``through it``, or ``with it``."""
    if not row.broken_by:
        return f"; no attack {where} broke a sample"
    return f"; {where} fell " + ", ".join(f"{count} to {plain(id, 40)}" for id, count in row.broken_by.items())


@dataclass(frozen=True)
class SideBySide:
    """A page.

    Args:
        found: the document that it shows.
        name: of the kind of document.
        title: of the table.
        what: that the first audit was without, such as ``a defense``.
        heads: of the table's columns: the first and the last are words, the others figures.
        rows: cells.
        notes: sentences below it.
    """

    found: SeveralAudits
    name: str
    title: str
    what: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def facts(self) -> list[tuple[str, str]]:
        """What all audits share, and what the one without came to: names and values."""
        found, bare = self.found, self.found.bare
        clean = [] if bare.clean is None else [("Clean accuracy", f"{rate_words(bare.clean)} without {self.what}")]
        name = "Robust accuracy" if found.metric == "robust_accuracy" else "Stability"
        return [
            ("Model", f"{plain(found.model)}, SHA-256 {found.sha256[:16]}"),
            ("Data", f"{plain(found.data.source)}, {drawn_words(found.data)}"),
            ("Threat", threat_words(found.threat_model, found.data)),
            ("Profile", f"{plain(found.profile)}, seed {found.seed}"),
            *clean,
            (name, f"at most {rate_words(bare.robust)} without {self.what}"),
        ]

    def text(self, width: int = 80) -> str:
        """The page as text, lists in place of the table where there is little room."""
        buffer = io.StringIO()
        console = Console(file=buffer, width=width, markup=False, emoji=False, highlight=False, legacy_windows=False)
        facts(console, self.facts())
        heading(console, self.title)
        if console.width < WIDE:
            entries(console, (self._entry(row) for row in self.rows))
        else:
            console.print(indented(self._table()))
        bullets(console, self.notes)
        return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for place, head in enumerate(self.heads):
            words = place in (0, len(self.heads) - 1)
            table.add_column(head, justify="left" if words else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _entry(self, row: Sequence[str]) -> tuple[Text, list[Text]]:
        title = Text(f"{row[0]}: {row[-1]}", style="bold")
        return title, [Text(f"{head}: {cell}") for head, cell in zip(self.heads[1:-1], row[1:-1], strict=True)]
