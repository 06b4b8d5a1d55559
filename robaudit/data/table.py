"""Tables: CSV or TSV files with a header, a row a sample; one column may hold the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robaudit.data.columns import counts_rows, first_twice, label_place, listed, named, to_name
from robaudit.data.delimited import Sheet, read_sheet
from robaudit.data.numbers import Style, as_number, few, is_missing, style_of
from robaudit.errors import UsageError

__all__ = ["NoLabelColumnError", "Table", "read_table"]

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
BOOLEANS = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Args:
        path: of the file.
        names: of the feature columns.
        values: [N, F] float64; NaN where a value is missing.
        labels: [N] text of the label column, as it is written; None without such a column.
        lines: [N] line of each row in the file.
        digest: SHA-256 of the file.
        unit: what ``lines`` count.
        targets: [N] text of the column with the classes to reach, empty where one is missing; None without one.
        problems: why a row cannot be used, as the end of a sentence.
        notes: what was made of the columns, a sentence each.
        whole: the same with the columns that only count rows as features; None where there are none.
    """

    path: Path
    names: tuple[str, ...]
    values: NDArray[np.float64]
    labels: tuple[str, ...] | None
    lines: tuple[int, ...]
    digest: str
    unit: str = "line"
    targets: tuple[str, ...] | None = None
    problems: dict[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    whole: Table | None = None

    def row(self, index: int) -> str:
        """How a message names a row."""
        return f"{self.unit} {self.lines[index]} of {self.path}"

    def fitted(self, shape: tuple[int, ...]) -> Table:
        """With the columns that only count rows, if the model takes as many features as there are then."""
        return self if self.whole is None or shape != (len(self.whole.names),) else self.whole


class NoLabelColumnError(UsageError):
    """No column of a table is known to hold labels: it may have another name, or there are no labels."""


def read_table(
    path: Path,
    label_column: str | None = None,
    *,
    labelled: bool = True,
    target_column: str | None = None,
    declared: Sequence[str] | None = None,
) -> Table:
    """Read a table whole. A row that cannot be read costs itself alone, as long as few are so.

    Args:
        path: CSV, TSV, either with ``.gz`` behind it.
        label_column: name of the column with the labels; default the one whose name says so.
        labelled: labels are wanted.
        target_column: name of the column with the classes to reach, which is no feature.
        declared: names of the classes.

    Raises:
        UsageError: it cannot be read, has no header, no column of labels, or cells that are no numbers.
    """
    sheet = read_sheet(path, "table")
    header, rows, skipped = _split(sheet)
    rows, problems = _even(rows, header, sheet)
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    places = list(range(len(header)))
    targets = None
    if target_column is not None:
        place = _target_place(header, target_column, label_column, str(path))
        targets = tuple("" if is_missing(cell) else cell for cell in columns[place])
        places.remove(place)
    label, twins = _label(header, columns, places, label_column, declared, path, labelled=labelled)
    notes = [*sheet.notes, *skipped, *_repeated(header, label, twins)]
    used = {label, *twins}
    counting = [i for i in places if i not in used and counts_rows(header[i], columns[i])]
    used.update(counting)
    features = [i for i in places if i not in used]
    if not features and not counting:
        raise UsageError(f"{path} holds labels and no features")
    style = _style(sheet, [columns[i] for i in (*counting, *features)], str(path))
    labels = None if label is None else tuple(columns[label])
    lines = tuple(line for line, _ in rows)

    def table(kept: list[int], more: list[str], whole: Table | None = None) -> Table:
        names = [header[i] or (f"Unnamed: {i}" if i in used else "") for i in kept]
        _check_names(names, kept, path)
        bad = dict(problems)
        values = _numbers([columns[i] for i in kept], names, style, lines, path, bad)
        said = (*notes, *more)
        return Table(path, tuple(names), values, labels, lines, sheet.digest, "line", targets, bad, said, whole)

    if not counting:
        return table(features, [])
    told = listed([header[i] for i in counting])
    more = [f"the column {told} tells rows apart, and the model takes it: it is attacked as a feature"]
    readable = all(as_number(cell, style) is not None for i in counting for cell in columns[i])
    whole = table(sorted((*counting, *features)), more) if readable else None
    if not features:
        return whole if whole is not None else table(counting, [])
    return table(features, [f"the column {told} tells rows apart and is no feature"], whole)


def _split(sheet: Sheet) -> tuple[list[str], list[tuple[int, tuple[str, ...]]], list[str]]:
    """(names of the columns, rows, notes): the first row, else a comment before it; R does not name its row names."""
    path, rows = sheet.path, list(sheet.rows)
    header: Sequence[str] = rows[0][1]
    if _is_data(header) and sheet.comment is not None and len(sheet.comment) == len(header):
        header = sheet.comment
    else:
        del rows[0]
    if not rows:
        raise UsageError(f"{path} must hold a header and at least one row")
    if _is_data(header):
        raise UsageError(f"{path} must begin with a header, the names of its columns")
    if all(len(cells) == len(header) + 1 for _, cells in rows):
        header = ("", *header)
    kept = [row for row in rows if not row[1][0].startswith("#")] or rows
    return (
        list(header),
        kept,
        [f"comment lines that were skipped: {len(rows) - len(kept)}"] if len(kept) < len(rows) else [],
    )


def _is_data(header: Sequence[str]) -> bool:
    """Whether a first row holds numbers: nothing else, or mostly such as are no names of columns."""
    numbers = [cell for cell in header if cell and as_number(cell) is not None]
    fractions = [cell for cell in numbers if not cell.isdecimal()]
    return len(numbers) == len(header) or 2 * len(fractions) > len(header)


def _even(
    rows: list[tuple[int, tuple[str, ...]]], header: Sequence[str], sheet: Sheet
) -> tuple[list[tuple[int, tuple[str, ...]]], dict[int, str]]:
    """(rows as long as the header, broken lines among them; those that are not: why).

    Raises:
        UsageError: many are not.
    """
    width = len(header)
    trimmed = [(line, cells[:width] if not any(cells[width:]) else cells) for line, cells in rows]
    bad = {i: len(cells) for i, (_, cells) in enumerate(trimmed) if len(cells) != width}
    if bad and not few(len(bad), len(rows)):
        first, count = next(iter(bad.items()))
        raise UsageError(f"line {rows[first][0]} of {sheet.path} has {count} cells, and the header {width}")
    reasons = dict(sheet.broken)
    reasons.update((rows[i][0], f"has {count} cells, and the header {width}") for i, count in bad.items())
    empty: tuple[str, ...] = ()
    lines = sorted([*trimmed, *((line, empty) for line in sheet.broken)])
    even = [(line, ("",) * width if line in reasons else cells) for line, cells in lines]
    return even, {i: reasons[line] for i, (line, _) in enumerate(even) if line in reasons}


def _repeated(header: Sequence[str], label: int | None, twins: Sequence[int]) -> list[str]:
    """What is to be said of columns that repeat the labels."""
    if label is None or not twins:
        return []
    return [f"the column {header[label]} holds the labels, and {listed([header[i] for i in twins])} repeats them"]


def _target_place(header: Sequence[str], wanted: str, label_column: str | None, where: str) -> int:
    """The place of the column with the classes to reach.

    Raises:
        UsageError: there is none of that name, or it holds the labels.
    """
    place = named(header, wanted, where)
    if label_column is not None and place == named(header, label_column, where):
        raise UsageError(f"the column {header[place]!r} of {where} cannot hold both the labels and the targets")
    return place


def _label(
    header: Sequence[str],
    columns: Sequence[Sequence[str]],
    places: Sequence[int],
    wanted: str | None,
    declared: Sequence[str] | None,
    path: Path,
    *,
    labelled: bool,
) -> tuple[int | None, list[int]]:
    """(place of the labels, places of columns that repeat them); None in a table without, where none are wanted."""
    if wanted is not None:
        return named(header, wanted, str(path)), []
    found = label_place(header, columns, places, str(path), declared=declared, sure_first=False)
    if found is None and labelled:
        raise NoLabelColumnError(
            f"no column of {path} is known to hold labels; {to_name(header, columns, places)}, "
            "or use --labels model to measure the stability of the model's own answers"
        )
    return found or (None, [])


def _check_names(names: Sequence[str], places: Sequence[int], path: Path) -> None:
    empty = next((place for name, place in zip(names, places, strict=True) if not name), None)
    if empty is not None:
        raise UsageError(f"column {empty + 1} of {path} has no name")
    twice = first_twice(names)
    if twice is not None:
        raise UsageError(f"{path} has two columns named {twice!r}")


def _style(sheet: Sheet, columns: Sequence[Sequence[str]], where: str) -> Style:
    """The decimal mark; a table without a comma in a number has the point."""
    if not any("," in cell for column in columns for cell in column):
        return "point"
    return style_of((cell for column in columns for cell in column), where)


def _numbers(
    columns: Sequence[Sequence[str]],
    names: Sequence[str],
    style: Style,
    lines: Sequence[int],
    path: Path,
    problems: dict[int, str],
) -> NDArray[np.float64]:
    """[N, F]; NaN where a value is missing, or is none, which goes into ``problems``.

    Raises:
        UsageError: many cells of a column are no numbers.
    """
    values = np.full((len(lines), len(names)), np.nan)
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        if style == "point":
            try:
                values[:, place] = np.array(column, dtype=np.float64)
                continue
            except ValueError:
                pass
        cells = _switched(column)
        found = [as_number(cell, style) for cell in cells]
        odd = [i for i, value in enumerate(found) if value is None and i not in problems]
        if odd and not few(len(odd), len(cells)):
            what = f"{name} is {cells[odd[0]][:40]!r}, which is no number; encode it, as the model takes it"
            raise UsageError(f"line {lines[odd[0]]} of {path}: {what}")
        for i in odd:
            problems[i] = f"has {cells[i][:40]!r} for {name}, which is no number"
        values[:, place] = [np.nan if value is None else value for value in found]
    return values


def _switched(column: Sequence[str]) -> Sequence[str]:
    """A column of booleans as 1 and 0."""
    if all(cell.casefold() in BOOLEANS or is_missing(cell) for cell in column):
        return [BOOLEANS.get(cell.casefold(), cell) for cell in column]
    return column
