"""Opens whatever ``--data`` names."""

from __future__ import annotations

from pathlib import Path

from robaudit.data.arrays import open_npz, peek_npz, peek_top
from robaudit.data.images import bundled_dataset, open_folder
from robaudit.data.source import Dataset
from robaudit.errors import UsageError

__all__ = ["bundled_dataset", "check_source", "open_dataset", "peek_classes", "peek_shape"]


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
) -> Dataset:
    """Open an image folder or an ``.npz``; see :func:`open_folder` and :func:`open_npz`.

    Raises:
        UsageError: it is neither, or does not fit the model.
    """
    check_source(source)
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
        raise UsageError(f"--labels {labels} is for image folders; put the labels of {source} into it as y")
    dataset = open_npz(source, shape=shape, lo=lo, hi=hi, num_classes=num_classes, labelled=labelled)
    dataset.class_names = class_names
    dataset.class_order = "declared" if class_names else None
    return dataset


def check_source(source: Path) -> None:
    """Refuse what cannot be data, without reading it.

    Raises:
        UsageError: there is nothing, or neither a folder nor an ``.npz``.
    """
    if not source.exists():
        raise UsageError(f"there is no data at {source}")
    if not source.is_dir() and source.suffix.lower() != ".npz":
        raise UsageError(f"{source} is neither an image folder nor an .npz archive with x and y")


def peek_shape(source: Path) -> tuple[int, ...] | None:
    """Canonical shape of a sample where the data alone decides it (arrays), else None."""
    return peek_npz(source) if source.is_file() and source.suffix.lower() == ".npz" else None


def peek_classes(source: Path) -> int | None:
    """One more than the largest label of an archive of arrays, else None."""
    top = peek_top(source) if source.is_file() and source.suffix.lower() == ".npz" else None
    return None if top is None or top < 1 else top + 1
