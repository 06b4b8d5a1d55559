"""The samples of a table, each feature in its own range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.labels import check_labels, name_index
from robaudit.data.ranges import Ranges
from robaudit.data.source import Dataset
from robaudit.data.table import LISTED, MISSING, Table
from robaudit.errors import UnreadableSampleError, UsageError

__all__ = ["TableDataset", "open_table"]


class TableDataset(Dataset):
    """Rows of a table, each feature scaled to [0, 1] by its range."""

    def __init__(
        self,
        table: Table,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        shape: tuple[int, ...],
        unlabelled: frozenset[int],
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self._table, self._low, self._shape = table, low, shape
        self._width = np.where(high > low, high - low, 1.0)
        self._unlabelled = unlabelled

    def load(self, index: int) -> NDArray[Any]:
        """A row in u-space, in float64, so that the file sees its very values; a feature that is constant is 0.

        Raises:
            UnreadableSampleError: it lacks its label, or a finite value of a feature.
        """
        row, table = self._table.values[index], self._table
        bad = np.flatnonzero(~np.isfinite(row))
        if bad.size:
            more = f" and {bad.size - 1} more" if bad.size > 1 else ""
            raise UnreadableSampleError(f"{table.row(index)} has no value for {table.names[bad[0]]}{more}")
        if index in self._unlabelled:
            raise UnreadableSampleError(f"{table.row(index)} has no label")
        u: NDArray[Any] = np.clip((row - self._low) / self._width, 0.0, 1.0).reshape(self._shape)
        return u

    def stored(self, index: int) -> bytes | None:
        """The row's values, and its label where that is missing."""
        row: bytes = self._table.values[index].tobytes()
        return row + bytes([index in self._unlabelled])


def open_table(
    table: Table,
    *,
    shape: tuple[int, ...],
    lo: float,
    hi: float,
    ranges: Ranges | None,
    num_classes: int | None,
    class_names: list[str] | None,
    labelled: bool = True,
) -> Dataset:
    """The samples of a table.

    Args:
        table: as read.
        shape: of a sample, as the model takes it.
        lo, hi: range of every feature where ``ranges`` is None.
        ranges: of each feature, in the table's order.
        num_classes: of the model.
        class_names: declared, in the order of the model's outputs.
        labelled: use the labels, if there are any.

    Raises:
        UsageError: the table does not fit the model, a value lies outside of its range, or labels do not fit.
    """
    count = len(table.names)
    if shape != (count,):
        words = "x".join(map(str, shape))
        raise UsageError(
            f"{table.path} has {count} features ({', '.join(table.names[:LISTED])}{', ...' if count > LISTED else ''}) "
            f"and the model takes {words}; keep the model's own columns and that of the labels (--label-column)"
        )
    if ranges is None:
        same = (lo,) * count, (hi,) * count
        ranges = Ranges(table.names, *same, (False,) * count, (False,) * count)
    ranges.check(table.values, table.row)
    classes, values = class_names, None
    order = "declared" if class_names else None
    unlabelled: frozenset[int] = frozenset()
    if labelled and table.labels is not None:
        unlabelled = frozenset(i for i, label in enumerate(table.labels) if label.lower() in MISSING)
        values, classes, order = _labels(table, unlabelled, num_classes, class_names)
    return TableDataset(
        table,
        np.array(ranges.low),
        np.array(ranges.high),
        shape,
        unlabelled,
        source=str(table.path),
        kind="table",
        ids=[f"{table.path.name}:{line}" for line in table.lines],
        labels=values,
        digest=table.digest,
        class_names=classes,
        class_order=order,
        notes=_notes(table, ranges, order),
    )


def _labels(
    table: Table, unlabelled: frozenset[int], num_classes: int | None, class_names: list[str] | None
) -> tuple[NDArray[np.int64], list[str] | None, str | None]:
    """(labels, -1 where missing; names of the classes; where their order comes from)."""
    assert table.labels is not None
    names = [_whole(label) for i, label in enumerate(table.labels) if i not in unlabelled]
    if not names:
        raise UsageError(f"{table.path} holds no label")
    where = f"the label column of {table.path}"
    index, order = name_index(names, class_names, num_classes, where)
    found = np.full(len(table.labels), -1, dtype=np.int64)
    readable = [i for i in range(len(found)) if i not in unlabelled]
    found[readable] = check_labels(np.array([index[name] for name in names]), num_classes, where)
    classes = class_names
    if classes is None and order != "numeric":
        classes = sorted(index, key=index.__getitem__)
    return found, classes, order


def _whole(label: str) -> str:
    """``1.0`` as ``1``: other programs write whole numbers so where a value is missing."""
    return label[:-2] if label.endswith(".0") and label[:-2].isdecimal() else label


def _notes(table: Table, ranges: Ranges, order: str | None) -> list[str]:
    notes = []
    values = table.values
    missing = int((~np.isfinite(values)).any(1).sum())
    if missing:
        notes.append(f"{missing} of {len(values)} rows lack a value and cannot be audited")
    constant = sum(low == high for low, high in zip(ranges.low, ranges.high, strict=True))
    if constant:
        notes.append(f"{constant} of {len(ranges)} features never change and stay as they are")
    if ranges.observed:
        finite = np.isfinite(values)
        whole = (~finite | (values == np.floor(np.where(finite, values, 0)))).all(0)
        count = int((whole & (np.array(ranges.low) != np.array(ranges.high)) & ~np.array(ranges.integer)).sum())
        if count:
            notes.append(
                f"{count} features hold whole numbers alone and are perturbed like the others; --feature-ranges FILE "
                "can say integer"
            )
    if order == "sorted, assumed":
        notes.append("class numbers follow the sorted class names, which is assumed")
    return notes
