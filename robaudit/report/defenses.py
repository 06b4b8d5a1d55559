"""What defenses buy: the list of them, and their comparison, in words, as a table, and as a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.defenses.document import DefenseComparison, Weighed
from robaudit.audit.result.document import PairedChange
from robaudit.plural import counted
from robaudit.report.console import NARROW, bullets, entries, facts, heading, indented
from robaudit.report.sentences import drawn_words
from robaudit.report.words import plain, rate_words, threat_words

__all__ = ["HEADS", "comparison_facts", "comparison_notes", "comparison_rows", "comparison_text", "print_comparison"]

HEADS = (
    "defense",
    "clean accuracy",
    "gain, plain attacks",
    "gain, adaptive attacks",
    "false-security index",
    "time",
    "outcome",
)
WIDE = NARROW + 60
"""Columns below which the table is written as lists."""


def comparison_facts(found: DefenseComparison) -> list[tuple[str, str]]:
    """What was compared."""
    bare = found.bare
    clean = [] if bare.clean is None else [("Clean accuracy", f"{rate_words(bare.clean)} without a defense")]
    name = "Robust accuracy" if found.metric == "robust_accuracy" else "Stability"
    return [
        ("Model", f"{plain(found.model)}, SHA-256 {found.sha256[:16]}"),
        ("Data", f"{plain(found.data.source)}, {drawn_words(found.data)}"),
        ("Threat", threat_words(found.threat_model, found.data)),
        ("Profile", f"{plain(found.profile)}, seed {found.seed}"),
        *clean,
        (name, f"at most {rate_words(bare.robust)} without a defense"),
    ]


def comparison_rows(found: DefenseComparison) -> list[list[str]]:
    """A row each defense, under ``HEADS``."""
    return [
        [
            plain(row.defense.words, 200),
            _points(row.clean),
            _points(row.plain),
            _points(row.adaptive),
            _points(row.false_security),
            "-" if row.latency is None else f"x{row.latency:.3g}",
            _outcome(row),
        ]
        for row in found.rows
    ]


def _points(change: PairedChange) -> str:
    """A paired difference in points, with its interval."""
    if change.difference is None:
        return "-"
    return f"{100 * change.difference:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _outcome(row: Weighed) -> str:
    if row.failed_checks:
        return "not to be relied on"
    return row.outcome if row.complete else f"{row.outcome} (incomplete)"


def comparison_notes(found: DefenseComparison) -> list[str]:
    """How the table is to be read, and what is to be said of single rows."""
    pairs = found.rows[0].plain.pairs if found.rows else 0
    notes = [
        f"In points of {counted(pairs, 'sample')}, paired with the model without a defense; exact intervals at "
        f"{found.confidence:.0%}, each for itself.",
        "Plain attacks: the examples made on the model without the defense, shown to the model behind it. Adaptive "
        "attacks: these, and those of an attacker who knows the defense and attacks through it"
        + (f", with {', '.join(found.added)} beside the profile's." if found.added else "."),
        "The false-security index is the plain less the adaptive gain: what plain attacks alone would feign.",
    ]
    if found.metric == "stability":
        notes.append("Without labels the answers of the model without a defense are the reference.")
    if found.bare.failed_checks:
        notes.append(
            f"Without a defense checks failed ({', '.join(found.bare.failed_checks)}): no gain can be relied on."
        )
    for row in found.rows:
        words = plain(row.defense.words, 200)
        fooled, shown = row.transferred
        notes.append(
            f"{words}: {fooled} of {counted(shown, 'example')} of the model without it fool it too{_broken(row)}."
        )
        if row.failed_checks:
            notes.append(
                f"{words}: checks failed ({', '.join(row.failed_checks)}), so that its gain is not to be relied on."
            )
        if not row.complete:
            notes.append(f"{words}: not all attacks ran to their end, so that its adaptive gain may be smaller still.")
    return notes


def _broken(row: Weighed) -> str:
    if not row.broken_by:
        return "; no attack through it broke a sample"
    return "; through it fell " + ", ".join(f"{count} to {plain(id, 40)}" for id, count in row.broken_by.items())


def print_comparison(found: DefenseComparison, file: TextIO, width: int | None = None) -> None:
    """The comparison on a terminal or in a pipe."""
    console = Console(file=file, width=width, markup=False, emoji=False, highlight=False, legacy_windows=False)
    facts(console, comparison_facts(found))
    heading(console, "What each defense buys")
    rows = comparison_rows(found)
    if console.width < WIDE:
        entries(console, (_entry(row) for row in rows))
    else:
        console.print(indented(_table(rows)))
    bullets(console, comparison_notes(found))


def comparison_text(found: DefenseComparison, width: int = 80) -> str:
    """The same as text."""
    buffer = io.StringIO()
    print_comparison(found, buffer, width)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(HEADS[0], overflow="fold")
    for head in HEADS[1:-1]:
        table.add_column(head, justify="right", overflow="fold")
    table.add_column(HEADS[-1], overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _entry(row: Sequence[str]) -> tuple[Text, list[Text]]:
    title = Text(f"{row[0]}: {row[-1]}", style="bold")
    return title, [Text(f"{head}: {cell}") for head, cell in zip(HEADS[1:-1], row[1:-1], strict=True)]
