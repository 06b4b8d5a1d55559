"""Opens whatever ``--data`` names."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robaudit.data.arrays import open_npz, peek_npz, read_npz
from robaudit.data.arrays import peek_classes as peek_npz_classes
from robaudit.data.delimited import check_size
from robaudit.data.images import open_folder
from robaudit.data.label_arrays import array_labels
from robaudit.data.ranges import Ranges
from robaudit.data.source import Dataset
from robaudit.data.table import Table, is_table, read_table
from robaudit.data.tabular import open_table
from robaudit.errors import UsageError
from robaudit.plural import counted

__all__ = ["check_source", "open_dataset", "peek_classes", "peek_shape"]


def open_dataset(
    source: Path,
    *,
    shape: tuple[int, ...],
    lo: float,
    hi: float,
    crop: float,
    interpolation: str,
    num_classes: int | None,
    class_names: list[str] | None,
    labels: Path | None,
    label_column: str | None = None,
    labelled: bool = True,
    ranges: Ranges | None = None,
    table: Table | None = None,
) -> Dataset:
    """Open an image folder, a table or an ``.npz``; see :func:`open_folder`, :func:`open_table`, :func:`open_npz`.

    Args:
        label_column: name of the column with the labels, of a table or a CSV of labels.
        ranges: of each feature, for tables and arrays of features; ``table``: the source, where it was read already.

    Raises:
        UsageError: it is none of them, or does not fit the model.
    """
    check_source(source)
    if ranges is not None and (source.is_dir() or len(shape) != 1):
        raise UsageError(f"--feature-ranges is for tables, and {source} with this model is none")
    if source.is_dir():
        return open_folder(
            source,
            shape=shape,
            crop=crop,
            interpolation=interpolation,
            num_classes=num_classes,
            class_names=class_names,
            labels=labels,
            label_column=label_column,
            labelled=labelled,
        )
    if labels is not None:
        place = "a column" if is_table(source) else "y"
        raise UsageError(f"--labels {labels} is for image folders; put the labels of {source} into it as {place}")
    if table is None and is_table(source):
        table = read_table(source, label_column, labelled=labelled, declared=class_names).fitted(shape)
    resolved = None
    if table is None and ranges is not None:
        table, y = _npz_table(source, ranges)
        if y is not None and labelled:
            where = f"y of {source}"
            resolved = array_labels(y, len(y), declared=class_names, num_classes=num_classes, where=where)
    if table is not None:
        return open_table(
            table,
            shape=shape,
            lo=lo,
            hi=hi,
            ranges=ranges,
            num_classes=num_classes,
            class_names=class_names,
            labelled=labelled,
            labels=resolved,
        )
    return open_npz(
        source, shape=shape, lo=lo, hi=hi, num_classes=num_classes, class_names=class_names, labelled=labelled
    )


def _npz_table(source: Path, ranges: Ranges) -> tuple[Table, NDArray[Any] | None]:
    """Arrays as a table whose columns are in the order of the ranges."""
    x, y, digest = read_npz(source)
    if x.ndim != 2 or x.shape[1] != len(ranges):
        words = "x".join(map(str, x.shape[1:]))
        raise UsageError(f"x in {source} holds samples of {words}, and there are {len(ranges)} ranges")
    if y is not None and (y.ndim == 0 or len(y) != len(x)):
        raise UsageError(f"{source} holds {counted(len(x), 'sample')} and {counted(y.size, 'label')}")
    return Table(source, ranges.names, x.astype("float64"), None, tuple(range(len(x))), digest, "row"), y


def check_source(source: Path) -> None:
    """Refuse what cannot be data, or is too large, without reading it.

    Raises:
        UsageError: there is nothing, or neither a folder, a table nor an ``.npz``.
    """
    if not source.exists():
        raise UsageError(f"there is no data at {source}")
    if not source.is_dir() and not source.is_file():
        raise UsageError(f"{source} is no ordinary file; refused")
    if not source.is_dir() and source.suffix.lower() != ".npz" and not is_table(source):
        raise UsageError(f"{source} is neither an image folder, a table (.csv, .tsv) nor an .npz archive with x and y")
    try:
        if is_table(source):
            check_size(source)
        elif source.is_file() and not zipfile.is_zipfile(source):
            raise UsageError(f"{source} is no readable .npz archive: it is no zip file")
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{source} cannot be read: {error}") from error


def peek_shape(source: Path) -> tuple[int, ...] | None:
    """Canonical shape of a sample where the data alone decides it (arrays), else None."""
    return peek_npz(source) if source.is_file() and source.suffix.lower() == ".npz" else None


def peek_classes(source: Path) -> int | None:
    """The number of classes that the labels of an archive of arrays tell, else None."""
    count = peek_npz_classes(source) if source.is_file() and source.suffix.lower() == ".npz" else None
    return None if count is None or count < 2 else count
