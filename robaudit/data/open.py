"""Opens whatever ``--data`` names."""

from __future__ import annotations

from pathlib import Path

from robaudit.data.arrays import open_npz, peek_npz, peek_top, read_npz
from robaudit.data.images import open_folder
from robaudit.data.ranges import Ranges
from robaudit.data.source import Dataset
from robaudit.data.table import Table, is_table, read_table
from robaudit.data.tabular import open_table
from robaudit.errors import UsageError

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
    labelled: bool = True,
    ranges: Ranges | None = None,
    table: Table | None = None,
) -> Dataset:
    """Open an image folder, a table or an ``.npz``; see :func:`open_folder`, :func:`open_table`, :func:`open_npz`.

    Args:
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
            labelled=labelled,
        )
    if labels is not None:
        place = "a column" if is_table(source) else "y"
        raise UsageError(f"--labels {labels} is for image folders; put the labels of {source} into it as {place}")
    if table is None and is_table(source):
        table = read_table(source, labelled=labelled)
    if table is None and ranges is not None:
        table = _npz_table(source, ranges)
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
        )
    dataset = open_npz(source, shape=shape, lo=lo, hi=hi, num_classes=num_classes, labelled=labelled)
    dataset.class_names = class_names
    dataset.class_order = "declared" if class_names else None
    return dataset


def _npz_table(source: Path, ranges: Ranges) -> Table:
    """Arrays as a table whose columns are in the order of the ranges."""
    x, y, digest = read_npz(source)
    if x.ndim != 2 or x.shape[1] != len(ranges):
        words = "x".join(map(str, x.shape[1:]))
        raise UsageError(f"x in {source} holds samples of {words}, and there are {len(ranges)} ranges")
    labels = None if y is None else tuple(str(label) for label in y.reshape(-1).tolist())
    if labels is not None and len(labels) != len(x):
        raise UsageError(f"{source} holds {len(x)} samples and {len(labels)} labels")
    return Table(source, ranges.names, x.astype("float64"), labels, tuple(range(len(x))), digest, "row")


def check_source(source: Path) -> None:
    """Refuse what cannot be data, without reading it.

    Raises:
        UsageError: there is nothing, or neither a folder, a table nor an ``.npz``.
    """
    if not source.exists():
        raise UsageError(f"there is no data at {source}")
    if not source.is_dir() and source.suffix.lower() != ".npz" and not is_table(source):
        raise UsageError(f"{source} is neither an image folder, a table (.csv, .tsv) nor an .npz archive with x and y")


def peek_shape(source: Path) -> tuple[int, ...] | None:
    """Canonical shape of a sample where the data alone decides it (arrays), else None."""
    return peek_npz(source) if source.is_file() and source.suffix.lower() == ".npz" else None


def peek_classes(source: Path) -> int | None:
    """One more than the largest label of an archive of arrays, else None."""
    top = peek_top(source) if source.is_file() and source.suffix.lower() == ".npz" else None
    return None if top is None or top < 1 else top + 1
