"""The class that the data gives with each sample for an attacker to reach, as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robaudit.data.labels import check_labels, read_rows
from robaudit.data.table import MISSING, Table
from robaudit.errors import UsageError

__all__ = ["COLUMN", "read_targets"]

COLUMN = "target"
"""Name of the third column of a CSV of labels, and of the array in an archive."""


def read_targets(source: Path, labels: Path | None, table: Table | None, ids: Sequence[str]) -> tuple[str, ...] | None:
    """Name or number of the class to reach for each sample, empty where there is none; None where the data has none.

    Args:
        source: image folder, table or ``.npz``, where a number below 0 is none.
        labels: CSV of file,label,target for a folder; default its ``labels.csv``.
        table: the source, where it is a table.
        ids: names of the samples, in the order of the data.

    Raises:
        UsageError: not one for each sample, or not readable.
    """
    if table is not None:
        return table.targets
    if source.is_dir():
        path = labels if labels is not None else source / "labels.csv"
        return _from_csv(path, source, ids) if path.is_file() else None
    return _from_npz(source, len(ids))


def _from_npz(path: Path, count: int) -> tuple[str, ...] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if COLUMN not in archive:
                return None
            found = np.atleast_1d(archive[COLUMN])
    except (OSError, ValueError) as error:
        raise UsageError(f"the array {COLUMN} in {path} cannot be read: {' '.join(str(error).split())}") from error
    if found.dtype.kind in "US" and found.ndim == 1:
        texts = [_text(str(name)) for name in found.tolist()]
    else:
        numbers = check_labels(found, None, f"{path}, array {COLUMN},").tolist()
        texts = ["" if number < 0 else str(number) for number in numbers]
    if len(texts) != count:
        raise UsageError(f"{path} holds {count} samples and {len(texts)} targets")
    return tuple(texts)


def _from_csv(path: Path, folder: Path, ids: Sequence[str]) -> tuple[str, ...] | None:
    """Third column of a CSV, by the files' names; None where its header has no ``target`` there."""
    rows = [row for _, row in read_rows(path)]
    if not rows or [cell.lower() for cell in rows[0][2:3]] != [COLUMN]:
        return None
    found: dict[str, str] = {}
    for row in rows[1:]:
        file = folder / row[0]
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.as_posix()
        text = _text(row[2]) if len(row) > 2 else ""
        if found.setdefault(name, text) != text:
            raise UsageError(f"{path} gives {row[0]} two targets, {found[name]!r} and {text!r}")
    return tuple(found.get(name, "") for name in ids)


def _text(cell: str) -> str:
    return "" if cell.strip().lower() in MISSING else cell.strip()
