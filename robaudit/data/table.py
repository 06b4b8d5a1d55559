"""Tables: CSV or TSV files with a header, a row a sample; one column may hold the labels."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["LABEL_NAMES", "LISTED", "MISSING", "Table", "is_table", "read_table"]

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
LABEL_NAMES = ("label", "labels", "target", "class", "y", "outcome", "diagnosis", "species")
"""A last column with one of these names holds the labels."""
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "?"})
LISTED = 12
"""Columns named in a message."""


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Args:
        path: of the file.
        names: of the feature columns.
        values: [N, F] float64; NaN where a value is missing.
        labels: [N] text of the label column, empty where it is missing; None without such a column.
        lines: [N] line of each row in the file.
        digest: SHA-256 of the file.
        unit: what ``lines`` count.
        targets: [N] text of the column with the classes to reach, empty where one is missing; None without one.
    """

    path: Path
    names: tuple[str, ...]
    values: NDArray[np.float64]
    labels: tuple[str, ...] | None
    lines: tuple[int, ...]
    digest: str
    unit: str = "line"
    targets: tuple[str, ...] | None = None

    def row(self, index: int) -> str:
        """How a message names a row."""
        return f"{self.unit} {self.lines[index]} of {self.path}"


def is_table(path: Path) -> bool:
    """Whether a path's suffix is a table's."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(
    path: Path, label_column: str | None = None, *, labelled: bool = True, target_column: str | None = None
) -> Table:
    """Read a table whole.

    Args:
        path: CSV, TSV, either with ``.gz`` behind it.
        label_column: name of the column with the labels; default the last, if its name says so.
        labelled: labels are wanted.
        target_column: name of the column with the classes to reach, which is no feature.

    Raises:
        UsageError: it cannot be read, has no header, no column of labels, or a cell that is no number.
    """
    text, digest = _content(path)
    delimiter = "\t" if ".tsv" in path.name.lower() else _delimiter(text)
    try:
        rows = [(line, row) for line, row in _rows(text, delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"the table {path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise UsageError(f"{path} must hold a header and at least one row")
    header = [cell.strip() for cell in rows[0][1]]
    _check_header(header, path)
    targets = None
    if target_column is not None:
        aim = _named(header, target_column, path)
        if target_column == label_column:
            raise UsageError(f"the column {target_column!r} of {path} cannot hold both the labels and the targets")
        _check_lengths(rows, header, path)
        targets = tuple(row[aim].strip() for _, row in rows[1:])
        targets = tuple("" if text.lower() in MISSING else text for text in targets)
        rows = [(line, row[:aim] + row[aim + 1 :]) for line, row in rows]
        del header[aim]
    place = _label_place(header, label_column, labelled, path)
    names = [name for i, name in enumerate(header) if i != place]
    _check_lengths(rows, header, path)
    values = np.empty((len(rows) - 1, len(names)))
    labels = []
    for n, (line, row) in enumerate(rows[1:]):
        if place is not None:
            labels.append(row[place].strip())
            row = row[:place] + row[place + 1 :]
        values[n] = _numbers(row, names, line, path)
    lines = tuple(line for line, _ in rows[1:])
    return Table(path, tuple(names), values, None if place is None else tuple(labels), lines, digest, targets=targets)


def _check_lengths(rows: Sequence[tuple[int, list[str]]], header: Sequence[str], path: Path) -> None:
    for line, row in rows:
        if len(row) != len(header):
            raise UsageError(f"line {line} of {path} has {len(row)} cells, and the header {len(header)}")


def _content(path: Path) -> tuple[str, str]:
    if not path.is_file():
        raise UsageError(f"there is no data file {path}")
    try:
        raw = path.read_bytes()
        plain = gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw
        return plain.decode("utf-8-sig"), hashlib.sha256(raw).hexdigest()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, ValueError) as error:
        raise UsageError(f"the table {path} cannot be read: {' '.join(str(error).split())}") from error


def _delimiter(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0]
    return ";" if ";" in first and "," not in first else ","


def _rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found, line = [], 1
    for row in reader:
        found.append((line, row))
        line = reader.line_num + 1
    return found


def _check_header(header: Sequence[str], path: Path) -> None:
    if all(_is_number(cell) for cell in header):
        raise UsageError(f"{path} must begin with a header, the names of its columns")
    empty = next((i for i, cell in enumerate(header, 1) if not cell), None)
    if empty is not None:
        raise UsageError(f"column {empty} of {path} has no name")
    twice = next((cell for cell in header if header.count(cell) > 1), None)
    if twice is not None:
        raise UsageError(f"{path} has two columns named {twice!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(header: Sequence[str]) -> str:
    return ", ".join(header[:LISTED]) + (", ..." if len(header) > LISTED else "")


def _named(header: Sequence[str], wanted: str, path: Path) -> int:
    """Place of the column with that name."""
    if wanted not in header:
        raise UsageError(f"{path} has no column {wanted!r}{did_you_mean(wanted, header)} (it has: {_listed(header)})")
    return list(header).index(wanted)


def _label_place(header: Sequence[str], wanted: str | None, labelled: bool, path: Path) -> int | None:
    """Which column holds the labels; None in a table without, where none are wanted."""
    names = _listed(header)
    if wanted is not None:
        place = _named(header, wanted, path)
    elif header[-1].lower() in LABEL_NAMES:
        place = len(header) - 1
    elif not labelled:
        return None
    else:
        raise UsageError(
            f"no column of {path} is known to hold the labels; name it with --label-column (columns: {names}), or use "
            "--labels model to measure the stability of the model's own answers"
        )
    if len(header) == 1:
        raise UsageError(f"{path} holds labels and no features")
    return place


def _numbers(row: list[str], names: Sequence[str], line: int, path: Path) -> NDArray[np.float64]:
    try:
        return np.array(row, dtype=np.float64)
    except ValueError:
        pass
    found = np.empty(len(row))
    for i, (cell, name) in enumerate(zip(row, names, strict=True)):
        text = cell.strip()
        if text.lower() in MISSING:
            found[i] = np.nan
            continue
        try:
            found[i] = float(text)
        except ValueError:
            raise UsageError(
                f"line {line} of {path}: {name} is {text[:40]!r}, which is no number; encode it, as the model takes it"
            ) from None
    return found
