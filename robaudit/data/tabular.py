"""The samples of a table, each feature in its own range."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.columns import listed
from robaudit.data.delimited import check_size
from robaudit.data.label_arrays import lost_note
from robaudit.data.labels import Labels, resolve_labels
from robaudit.data.ranges import Ranges
from robaudit.data.reader import Fit, Reader, Source, Wanted
from robaudit.data.source import Dataset
from robaudit.data.table import SUFFIXES, NoLabelColumnError, Table, read_table
from robaudit.errors import UnreadableSampleError, UsageError
from robaudit.plural import counted, part_of

__all__ = ["TableDataset", "TableReader", "TableSource", "open_table"]


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


class TableReader(Reader):
    """Tables."""

    name = "a table (.csv, .tsv)"
    suffixes = SUFFIXES
    columns = True
    tabular = True

    def check(self, path: Path) -> None:
        """Refuse a table that is too large."""
        check_size(path)

    def open(self, path: Path, wanted: Wanted) -> TableSource:
        """Read the table whole; where no column is known to hold labels, all are features, with that doubt."""
        if wanted.labels is not None:
            raise UsageError(
                f"--labels {wanted.labels} is for image folders; put the labels of {path} into it as a column"
            )
        read = partial(
            read_table, path, wanted.label_column, target_column=wanted.target_column, declared=wanted.classes
        )
        try:
            return TableSource(read(labelled=wanted.labelled), labelled=wanted.labelled)
        except NoLabelColumnError as error:
            try:
                return TableSource(read(labelled=False), labelled=wanted.labelled, doubt=error)
            except UsageError:
                raise error from None  # a column that holds no numbers: the labels, by another name


class TableSource(Source):
    """A table that was read. Readers of other files that hold tables return one too."""

    ranged = True
    labels_go = "in a column, named with --label-column"

    def __init__(self, table: Table, *, labelled: bool = True, doubt: UsageError | None = None) -> None:
        self.table, self.doubt, self._labelled, self._table = table, doubt, labelled, table
        self.shape = (len(table.names),)

    def samples(self, fit: Fit) -> Dataset:
        """The rows."""
        return open_table(self._table.fitted(fit.shape), fit, labelled=self._labelled)

    def targets(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The column of them."""
        del ids
        return self._table.targets


def open_table(table: Table, fit: Fit, *, labelled: bool = True, labels: Labels | None = None) -> Dataset:
    """The samples of a table.

    Args:
        table: as read.
        fit: what they have to fit; without ranges its domain is every feature's.
        labelled: use the labels, if there are any.
        labels: of the rows, where they are no column of the table.

    Raises:
        UsageError: the table does not fit the model, many values lie outside of their ranges, or labels do not fit.
    """
    shape, ranges, class_names = fit.shape, fit.ranges, fit.class_names
    count = len(table.names)
    if shape != (count,):
        words = "x".join(map(str, shape))
        raise UsageError(
            f"{table.path} has {count} features ({listed(table.names)}) "
            f"and the model takes {words}; keep the model's own columns and that of the labels (--label-column)"
        )
    if ranges is None:
        same = (fit.lo,) * count, (fit.hi,) * count
        ranges = Ranges(table.names, *same, (False,) * count, (False,) * count)
    outside = ranges.check(table.values, table.row)
    if labels is None and labelled and table.labels is not None:
        where = f"the label column of {table.path}"
        labels = resolve_labels(table.labels, declared=class_names, num_classes=fit.num_classes, where=where)
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
