"""The samples of a table, each feature in its own range."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.columns import listed
from robaudit.data.label_arrays import lost_note
from robaudit.data.labels import Labels, resolve_labels
from robaudit.data.ranges import Ranges
from robaudit.data.source import Dataset
from robaudit.data.table import Table
from robaudit.errors import UnreadableSampleError, UsageError
from robaudit.plural import counted, part_of

__all__ = ["TableDataset", "open_table"]


class TableDataset(Dataset):
    """Rows of a table, each feature scaled to [0, 1] by its range."""

    def __init__(
        self,
        table: Table,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        shape: tuple[int, ...],
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self._table, self._low, self._shape = table, low, shape
        self._width = np.where(high > low, high - low, 1.0)

    def read(self, index: int) -> NDArray[Any]:
        """A row in u-space, in float64, so that the file sees its very values; a feature that is constant is 0.

        Raises:
            UnreadableSampleError: it lacks a finite value of a feature.
        """
        row, table = self._table.values[index], self._table
        bad = np.flatnonzero(~np.isfinite(row))
        if bad.size:
            more = f" and {bad.size - 1} more" if bad.size > 1 else ""
            raise UnreadableSampleError(f"{table.row(index)} has no value for {table.names[bad[0]]}{more}")
        u: NDArray[Any] = np.clip((row - self._low) / self._width, 0.0, 1.0).reshape(self._shape)
        return u

    def stored(self, index: int) -> bytes | None:
        """The row's values, and its label where that is missing."""
        row: bytes = self._table.values[index].tobytes()
        return row + bytes([index in self.problems])


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
    labels: Labels | None = None,
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
        labels: of the rows, where they are no column of the table.

    Raises:
        UsageError: the table does not fit the model, many values lie outside of their ranges, or labels do not fit.
    """
    count = len(table.names)
    if shape != (count,):
        words = "x".join(map(str, shape))
        raise UsageError(
            f"{table.path} has {count} features ({listed(table.names)}) "
            f"and the model takes {words}; keep the model's own columns and that of the labels (--label-column)"
        )
    if ranges is None:
        same = (lo,) * count, (hi,) * count
        ranges = Ranges(table.names, *same, (False,) * count, (False,) * count)
    outside = ranges.check(table.values, table.row)
    if labels is None and labelled and table.labels is not None:
        where = f"the label column of {table.path}"
        labels = resolve_labels(table.labels, declared=class_names, num_classes=num_classes, where=where)
    if not labelled:
        labels = None
    problems = outside if labels is None else outside | labels.problems
    problems |= table.problems
    ids = [f"{table.path.name}:{line}" for line in table.lines]
    order = "declared" if class_names else None
    return TableDataset(
        table,
        np.array(ranges.low),
        np.array(ranges.high),
        shape,
        source=str(table.path),
        kind="table",
        ids=ids,
        labels=None if labels is None else labels.index,
        digest=table.digest,
        class_names=class_names if labels is None else labels.names,
        class_order=order if labels is None else labels.order,
        notes=[
            *table.notes,
            *lost_note(problems, ids),
            *_notes(table, ranges, problems),
            *([] if labels is None else labels.notes),
        ],
        problems={i: f"{table.row(i)} {reason}" for i, reason in problems.items()},
    )


def _notes(table: Table, ranges: Ranges, problems: Collection[int]) -> list[str]:
    notes = []
    values = table.values
    missing = len(set(np.flatnonzero((~np.isfinite(values)).any(1)).tolist()) - set(problems))
    if missing:
        notes.append(f"{part_of(missing, len(values), 'row', 'lacks/lack')} a value and cannot be audited")
    constant = sum(low == high for low, high in zip(ranges.low, ranges.high, strict=True))
    if constant:
        notes.append(
            part_of(
                constant, len(ranges), "feature", "never changes and stays as it is/never change and stay as they are"
            )
        )
    if ranges.observed:
        finite = np.isfinite(values)
        whole = (~finite | (values == np.floor(np.where(finite, values, 0)))).all(0)
        count = int((whole & (np.array(ranges.low) != np.array(ranges.high)) & ~np.array(ranges.integer)).sum())
        if count:
            notes.append(
                f"{counted(count, 'feature', 'holds whole numbers alone and is/hold whole numbers alone and are')} "
                "perturbed like the others; --feature-ranges FILE can say integer"
            )
    return notes
