"""How good detectors are, in words and as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.detectors.document import DetectorEvaluation, Evaluated
from robaudit.plural import counted
from robaudit.report.console import NARROW, bullets, entries, facts, heading, indented
from robaudit.report.sentences import drawn_words
from robaudit.report.words import plain, rate_words, short_rate, threat_words

__all__ = ["HEADS", "evaluation_facts", "evaluation_notes", "evaluation_rows", "evaluation_text"]

HEADS = (
    "detector",
    "AUC",
    "plain examples caught",
    "clean rejected",
    "stands, plain examples",
    "stands, joint attack",
    "outcome",
)
WIDE = NARROW + 60
"""Columns below which the table is written as lists."""


def evaluation_facts(found: DetectorEvaluation) -> list[tuple[str, str]]:
    """What was evaluated."""
    bare = found.bare
    clean = [] if bare.clean is None else [("Clean accuracy", f"{rate_words(bare.clean)} without a detector")]
    name = "Robust accuracy" if found.metric == "robust_accuracy" else "Stability"
    return [
        ("Model", f"{plain(found.model)}, SHA-256 {found.sha256[:16]}"),
        ("Data", f"{plain(found.data.source)}, {drawn_words(found.data)}"),
        ("Threat", threat_words(found.threat_model, found.data)),
        ("Profile", f"{plain(found.profile)}, seed {found.seed}"),
        *clean,
        (name, f"at most {rate_words(bare.robust)} without a detector"),
    ]


def evaluation_rows(found: DetectorEvaluation) -> list[list[str]]:
    """A row each detector, under ``HEADS``."""
    return [
        [
            plain(row.detector.words, 200),
            "-" if row.area is None else f"{row.area.estimate:.3f} [{row.area.low:.3f}, {row.area.high:.3f}]",
            short_rate(row.caught) if row.caught.n else "-",
            short_rate(row.rejected),
            short_rate(row.plain.new),
            short_rate(row.joint.new),
            _outcome(row),
        ]
        for row in found.rows
    ]


def _outcome(row: Evaluated) -> str:
    if row.failed_checks:
        return "not to be relied on"
    return row.outcome if row.complete else f"{row.outcome} (incomplete)"


def evaluation_notes(found: DetectorEvaluation) -> list[str]:
    """How the table is to be read, and what is to be said of single rows."""
    allowed = found.rows[0].detector.false_alarms if found.rows else 0.05
    notes = [
        f"Each threshold was set at {allowed:.1%} false alarms, on clean samples apart from the audited ones. Exact "
        f"intervals at {found.confidence:.0%}, each for itself; of the AUC Newcombe's (2006, method 5).",
        "Plain examples: those of the audit without a detector, made without knowing of one. AUC: the chance that one "
        "is more suspicious than a clean sample.",
        "What stands is answered right, accepted as it is, and broken by nothing: against plain examples alone, and "
        "against the joint attack on model and detector, which succeeds where the detector accepts and the model is "
        "wrong.",
    ]
    if found.metric == "stability":
        notes.append("Without labels the answers of the model without a detector are the reference.")
    if found.bare.failed_checks:
        notes.append(f"Without a detector checks failed ({', '.join(found.bare.failed_checks)}): rely on no figure.")
    for row in found.rows:
        words, detector = plain(row.detector.words, 200), row.detector
        fit = f"fitted on {detector.fitted_on}, " if detector.fitted_on else ""
        slope = "" if detector.differentiable else "; it has no gradient, so that stronger joint attacks are likely"
        notes.append(
            f"{words}: {fit}threshold set on {counted(detector.calibrated_on, 'clean sample')}{_broken(row)}{slope}."
        )
        if row.failed_checks:
            notes.append(f"{words}: checks failed ({', '.join(row.failed_checks)}), so that it is not to be relied on.")
        if not row.complete:
            notes.append(f"{words}: not all attacks ran to their end, so that less may stand.")
    return notes


def _broken(row: Evaluated) -> str:
    if not row.broken_by:
        return "; no attack with it broke a sample"
    return "; with it fell " + ", ".join(f"{count} to {plain(id, 40)}" for id, count in row.broken_by.items())


def print_evaluation(found: DetectorEvaluation, file: TextIO, width: int | None = None) -> None:
    """The evaluation on a terminal or in a pipe."""
    console = Console(file=file, width=width, markup=False, emoji=False, highlight=False, legacy_windows=False)
    facts(console, evaluation_facts(found))
    heading(console, "How good each detector is")
    rows = evaluation_rows(found)
    if console.width < WIDE:
        entries(console, (_entry(row) for row in rows))
    else:
        console.print(indented(_table(rows)))
    bullets(console, evaluation_notes(found))


def evaluation_text(found: DetectorEvaluation, width: int = 80) -> str:
    """The same as text."""
    buffer = io.StringIO()
    print_evaluation(found, buffer, width)
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
