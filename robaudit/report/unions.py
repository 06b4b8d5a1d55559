"""Several threat models: each by itself, and their union."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robaudit.audit.result.document import Result, ThreatOutcome
from robaudit.report.console import NARROW, entries, heading
from robaudit.report.words import ball, number, short_rate

__all__ = ["threat_table"]


def threat_table(console: Console, result: Result) -> None:
    """A row for each threat model and one for the union; nothing where there is one alone."""
    if not result.threats:
        return
    heading(console, "Threat models, each by itself on every sample, and their union")
    observed = result.worst_case.upper_bound_observed
    broken = sum(1 for sample in result.samples if sample.broken_by is not None)
    union = ("any of them", str(broken), "", short_rate(observed), "")
    rows = [*(_row(outcome) for outcome in result.threats), union]
    if console.width < NARROW:
        entries(console, ((Text(row[0], style="bold"), list(_lines(row))) for row in rows))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("within")
    table.add_column("broken", justify="right")
    table.add_column("here alone", justify="right")
    table.add_column("left of all, exact interval", justify="right")
    table.add_column("median distance", justify="right")
    for row in rows[:-1]:
        table.add_row(*map(Text, row))
    table.add_row(*(Text(cell, style="bold") for cell in union))
    console.print(table)


def _row(outcome: ThreatOutcome) -> tuple[str, ...]:
    distance = "-" if outcome.median_distance is None else number(outcome.median_distance)
    cells = (ball(outcome), str(outcome.broken), str(outcome.broken_here_alone))
    return (*cells, short_rate(outcome.upper_bound_observed), distance)


def _lines(row: Sequence[str]) -> Iterator[Text]:
    """The cells of a row but the first, each with its name."""
    names = ("broken", "broken here alone", "left of all", "median distance")
    return (Text(f"{name} {cell}") for name, cell in zip(names, row[1:], strict=True) if cell)
