"""What the reports in a terminal are put together from.

Nothing from a file name, metadata or a message is read as markup, and control characters never get through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robaudit.report.words import plain

__all__ = [
    "NARROW",
    "STATUS_STYLES",
    "bullets",
    "entries",
    "facts",
    "heading",
    "indented",
    "listing",
    "status",
    "styled",
]

NARROW = 72
"""Below so many columns tables of figures become lists: squeezed, they would lose digits."""

STATUS_STYLES = {
    "pass": "green",
    "passed": "bold green",
    "measured": "bold",
    "assumed input": "bold yellow",
    "done": "green",
    "warn": "yellow",
    "inconclusive": "yellow",
    "undecided": "bold yellow",
    "partial": "yellow",
    "skipped": "dim",
    "not run": "yellow",
    "unavailable": "yellow",
    "incomplete": "bold yellow",
    "interrupted": "bold yellow",
    "withheld": "bold yellow",
    "invalid": "bold yellow",
    "fail": "red",
    "failed": "bold red",
}


def styled(text: str, style: str = "") -> Text:
    """Text that may come from a file: in one style, control characters made visible, at most 2,000 characters."""
    return Text(plain(text, 2000), style=style)


def status(word: str) -> Text:
    """The status of an attack, check or gate in its colour."""
    return Text(word, style=STATUS_STYLES.get(word, ""))


def indented(what: Text | Table, columns: int = 2) -> Padding:
    """Every line of it, wrapped ones too, moved right."""
    return Padding(what, (0, 0, 0, columns))


def heading(console: Console, title: str) -> None:
    """A blank line and a title."""
    console.print()
    console.print(Text(title, style="bold"))


def bullets(console: Console, items: Iterable[str]) -> None:
    """Items one below another, each wrapped under itself."""
    for item in items:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("  -"), styled(item))
        console.print(grid)


def facts(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Names in bold beside their texts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), styled(text))
    console.print(grid)


def entries(console: Console, items: Iterable[tuple[Text, Sequence[Text]]]) -> None:
    """Titles, each with lines below it: a table where there is no room for one."""
    for title, lines in items:
        console.print(indented(title))
        for line in lines:
            console.print(indented(line, 4))


def listing(console: Console, title: str, rows: Iterable[tuple[Text, Text, Text]]) -> None:
    """A title, and rows of three cells below it; the last below the others where there is no room beside them."""
    heading(console, title)
    if console.width < NARROW:
        entries(console, (((Text(" ").join(row[:2])), [row[2]]) for row in rows))
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(indented(table))
