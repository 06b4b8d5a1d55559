"""CSV files of image labels: which column names the image, which one its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robaudit.data.columns import FILES, LABELS, first_twice, key, label_place, listed, named, to_name
from robaudit.data.delimited import Sheet, composed, read_sheet
from robaudit.data.folder import SPLITS, FileIndex
from robaudit.data.label_arrays import one_hot
from robaudit.data.numbers import as_number, is_missing, whole
from robaudit.errors import UsageError

__all__ = ["TARGET", "LabelFile", "read_label_file"]

TARGET = "target"
"""Name of the column with the class to reach, where another one holds the labels."""
BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass
class LabelFile:
    """What a CSV says of images, one entry an image.

    Args:
        files: of the images.
        labels: of each as it is written; None where ``problems`` rules it out.
        targets: class to reach, empty where there is none; None without such a column.
        columns: names of the classes, where the labels are one-hot.
        problems: why an image has no label, as the end of a sentence.
        notes: what was made of the columns and rows, a sentence each.
    """

    files: list[Path] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    targets: list[str] | None = None
    columns: list[str] | None = None
    problems: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_label_file(
    path: Path,
    index: FileIndex,
    *,
    column: str | None = None,
    declared: Sequence[str] | None = None,
    target_column: str | None = None,
    targets: bool = False,
) -> LabelFile:
    """Read a CSV that names an image and its label in each row.

    Args:
        path: of the CSV.
        index: finds the images.
        column: name of the column with the labels; default the one whose name says so, else one-hot columns.
        declared: names of the classes.
        target_column: name of the column with the classes to reach; default ``target`` beside labels.
        targets: read that column.

    Raises:
        UsageError: it cannot be read, or nothing tells which column is which.
    """
    sheet = read_sheet(path, "labels file")
    header, rows = _split(sheet, index, column)
    found = LabelFile(notes=[*sheet.notes, *sheet.broken_notes()])
    kept = [row for row in rows if not row[1][0].startswith("#") or any(map(index.looks, row[1]))]
    if len(kept) < len(rows):
        found.notes.append(f"comment lines of {path.name} that were skipped: {len(rows) - len(kept)}")
    if not kept:
        raise UsageError(f"{path} holds no labels")
    width = len(header) if header is not None else len(kept[0][1])
    columns = [[cells[i] if i < len(cells) else "" for _, cells in kept] for i in range(width)]
    place = _file_place(header, columns, index, path, found.notes)
    rest = [i for i in range(width) if i != place]
    aim = None
    if target_column is not None:
        if header is None:
            raise UsageError(f"{path} has no header, so that no column is called {target_column!r}")
        aim = named(header, target_column, str(path))
        rest.remove(aim)
    used, texts, problems = _labels(header, columns, rest, column, declared, path, found)
    if header is not None and aim is None and targets:
        aim = next((i for i in rest if i not in used and key(header[i]) == TARGET), None)
    if header is not None:
        extra = [header[i] for i in rest if i not in (*used, aim) and key(header[i])]
        if extra:
            found.notes.append(f"columns of {path.name} that are not used: {listed(extra)}")
    long = {n: len(cells) for n, (_, cells) in enumerate(kept) if any(cells[width:])}
    problems |= {n: f"has {count} cells in its row, and the others {width}" for n, count in long.items()}
    aims = columns[aim] if aim is not None and targets else None
    _collect(found, columns[place], texts, problems, aims, index, path)
    return found


def _split(
    sheet: Sheet, index: FileIndex, column: str | None
) -> tuple[Sequence[str] | None, list[tuple[int, tuple[str, ...]]]]:
    """(header or None, rows): the first row is one of the images where a cell names one, and else the header."""
    first, rows = sheet.rows[0][1], list(sheet.rows)
    keys = {key(cell) for cell in first}
    known = keys & set(FILES), keys & LABELS.keys()
    asked = column is not None and composed(column).casefold() in {cell.casefold() for cell in first}
    sample = any(map(index.looks, first)) and not asked and not all(known)
    if sample or (not any(known) and not asked and any(index.find(cell) is not None for cell in first)):
        comment = sheet.comment
        return (comment if comment is not None and len(comment) == len(first) else None), rows
    widths = {len(cells) for _, cells in rows[1:]}
    header = ("", *first) if widths == {len(first) + 1} else first
    twice = first_twice(header)
    if twice is not None:
        raise UsageError(f"{sheet.path} has two columns named {twice!r}")
    return header, rows[1:]


def _file_place(
    header: Sequence[str] | None, columns: Sequence[Sequence[str]], index: FileIndex, path: Path, notes: list[str]
) -> int:
    """Place of the column that names the images: by its name, else by the images that it names."""
    shares = [sum(index.find(cell) is not None for cell in cells) / len(cells) for cells in columns]
    if header is None:
        return int(np.argmax(shares))
    places = sorted(
        (i for i, name in enumerate(header) if key(name) in FILES), key=lambda i: FILES.index(key(header[i]))
    )
    if places and max(shares[i] for i in places) > 0:
        return max(places, key=lambda i: shares[i])
    best = int(np.argmax(shares))
    if shares[best] >= 0.5 and key(header[best]) not in LABELS:
        notes.append(f"the images are those that the column {header[best] or '(no name)'} of {path.name} names")
        return best
    if places:
        return places[0]
    raise UsageError(
        f"no column of {path} names the images (columns: {listed(header)}); head them file,label, with the "
        "files' names in the first"
    )


def _labels(
    header: Sequence[str] | None,
    columns: Sequence[Sequence[str]],
    rest: Sequence[int],
    wanted: str | None,
    declared: Sequence[str] | None,
    path: Path,
    found: LabelFile,
) -> tuple[list[int], list[str | None], dict[int, str]]:
    """(places of the columns used, label of each row, why some have none)."""
    if header is None:
        if wanted is not None:
            raise UsageError(f"{path} has no header, so that no column is called {wanted!r}")
        if len(rest) != 1:
            raise UsageError(
                f"{path} has no header and {len(columns)} column{'s' * (len(columns) > 1)}; head it "
                "file,label, or as its columns are"
            )
        return [rest[0]], list(columns[rest[0]]), {}
    if wanted is not None:
        return [place := named(header, wanted, str(path))], list(columns[place]), {}
    if (choice := label_place(header, columns, rest, str(path), declared=declared, sure_first=True)) is not None:
        place, twins = choice
        return [place, *twins], list(columns[place]), {}
    return _one_hot(header, columns, rest, path, found)


def _one_hot(
    header: Sequence[str], columns: Sequence[Sequence[str]], rest: Sequence[int], path: Path, found: LabelFile
) -> tuple[list[int], list[str | None], dict[int, str]]:
    """Labels as one column a class, of which one in each row is 1."""
    named_parts = {i for i in rest if key(header[i]).removeprefix("is") in SPLITS}
    numbers = {i: [_flag(cell) for cell in columns[i]] for i in rest if key(header[i]) and i not in named_parts}
    flags = [i for i, cells in numbers.items() if all(cell in (0.0, 1.0) or cell != cell for cell in cells)]
    flags = [i for i in flags if any(cell in (0.0, 1.0) for cell in numbers[i])]
    if len(flags) < 2:
        raise UsageError(f"no column of {path} is known to hold the labels; {to_name(header, columns, rest)}")
    values = np.array([numbers[i] for i in flags], dtype=np.float64).T
    names = [header[i] for i in flags]
    places, problems = one_hot(values, f"{path} (columns {listed(names)})")
    found.columns = names
    found.notes.append(f"the labels of {path.name} are one-hot: {listed(names)}")
    return flags, [None if place is None else names[place] for place in places], problems


def _flag(cell: str) -> float | None:
    return BOOLEANS.get(cell.casefold(), as_number(cell, "comma" if "," in cell else "point"))


def _collect(
    found: LabelFile,
    names: Sequence[str],
    texts: Sequence[str | None],
    problems: dict[int, str],
    targets: Sequence[str] | None,
    index: FileIndex,
    path: Path,
) -> None:
    """One entry an image, in the order of the rows; rows that contradict each other cost that image."""
    entries: dict[Path, int] = {}
    unnamed = repeated = there = 0
    if targets is not None:
        found.targets = []
    for row, (name, text) in enumerate(zip(names, texts, strict=True)):
        if not name:
            unnamed += 1
            continue
        file = index.find(name)
        there += file is not None
        file = index.missing(name) if file is None else file
        target = "" if targets is None or is_missing(targets[row]) else targets[row]
        entry = entries.get(file)
        if entry is None:
            entries[file] = entry = len(found.files)
            found.files.append(file)
            found.labels.append(None if row in problems else text)
            if found.targets is not None:
                found.targets.append(target)
            if row in problems:
                found.problems[entry] = problems[row]
            continue
        repeated += 1
        if found.targets is not None and found.targets[entry] != target:
            raise UsageError(f"{path} gives {name} two targets, {found.targets[entry]!r} and {target!r}")
        before = found.labels[entry]
        if entry in found.problems or row in problems or text is None or is_missing(text):
            continue
        if before is None or is_missing(before):
            found.labels[entry] = text
        elif before != text and (whole(before) is None or whole(before) != whole(text)):
            found.problems[entry] = f"has two labels in {path.name}, {before!r} and {text!r}"
            found.labels[entry] = None
    if not found.files:
        raise UsageError(f"{path} holds no labels")
    if not there:
        raise UsageError(f"none of the {len(found.files)} files that {path} names is in {index.folder}")
    if unnamed:
        found.notes.append(f"rows of {path.name} that name no file and were skipped: {unnamed}")
    if repeated:
        found.notes.append(f"rows of {path.name} that name an image again, which counts once: {repeated}")
