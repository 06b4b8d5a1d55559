"""Labels: integers in range, CSV files, names of classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["check_labels", "name_index", "read_csv", "read_rows"]

HEADERS = ("file", "filename", "file_name", "filepath", "path", "image", "image_path", "img", "name", "id")


def check_labels(y: NDArray[Any], num_classes: int | None, where: str) -> NDArray[np.int64]:
    """Labels as int64.

    Raises:
        UsageError: not whole numbers, or not in [0, num_classes).
    """
    flat = np.asarray(y)
    if flat.ndim == 2 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.ndim != 1 or flat.dtype.kind not in "iuf":
        raise UsageError(
            f"the labels in {where} must be one whole number a sample, not {flat.dtype} of shape {flat.shape}"
        )
    odd = np.flatnonzero(~np.isfinite(flat) | (flat != np.floor(flat)))
    if odd.size:
        raise UsageError(f"the labels in {where} must be whole numbers; number {odd[0]} is {flat[odd[0]]:g}")
    labels = flat.astype(np.int64)
    if num_classes is not None and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            hint = "; do they start at 1?" if high == num_classes and low >= 1 else ""
            worst = low if low < 0 else high
            raise UsageError(f"label {worst} in {where} is out of range: the model has {num_classes} classes{hint}")
    return labels


def read_csv(path: Path) -> list[tuple[str, str]]:
    """(file, label) rows; a header row ``file,label`` is optional.

    Raises:
        UsageError: unreadable, or a row without two columns.
    """
    rows = read_rows(path)
    found = []
    for place, (number, row) in enumerate(rows):
        if len(row) < 2:
            raise UsageError(f"line {number} of {path} must be file,label")
        if place or row[0].lower() not in HEADERS:
            found.append((row[0], row[1]))
    if not found:
        raise UsageError(f"{path} holds no labels")
    return found


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV that hold anything, each with its number; cells without space around them.

    Raises:
        UsageError: unreadable.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(i, [cell.strip() for cell in row]) for i, row in enumerate(csv.reader(file), 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the labels {path} cannot be read: {error}") from error
    return [(number, row) for number, row in rows if any(row)]


def name_index(
    names: Sequence[str], declared: Sequence[str] | None, num_classes: int | None, where: str
) -> tuple[dict[str, int], str]:
    """Class index of each name, and where the order comes from.

    Declared names, else names that are all numbers, else sorted order.

    Raises:
        UsageError: a name that was not declared, or declared twice; or fewer names than classes without an order.
    """
    unique = sorted(set(names))
    if declared is not None and (twice := [name for name in unique if list(declared).count(name) > 1]):
        raise UsageError(f"the class {twice[0]!r} in {where} is declared twice; name the folders by class number")
    if declared is not None and all(name in declared for name in unique):
        order = {name: i for i, name in enumerate(declared)}
        return {name: order[name] for name in unique}, "declared"
    if all(name.isdecimal() for name in unique):
        return {name: int(name) for name in unique}, "numeric"
    if declared is not None:
        unknown = next(name for name in unique if name not in declared)
        hint = did_you_mean(unknown, declared) if len(declared) <= 20 else ""
        raise UsageError(f"the class {unknown!r} in {where} is not among the {len(declared)} declared ones{hint}")
    if num_classes is not None and len(unique) != num_classes:
        raise UsageError(
            f"{where} has {len(unique)} classes by name and the model has {num_classes}, so their order is unknown; "
            "name the folders by class number, or declare the names as `classes` in robaudit.yaml"
        )
    return {name: i for i, name in enumerate(unique)}, "sorted, assumed"
