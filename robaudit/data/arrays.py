"""Arrays in an ``.npz`` file: ``x``, and ``y`` if there are labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.label_arrays import array_labels, label_texts, lost_note
from robaudit.data.npz import Arrays, open_arrays
from robaudit.data.numbers import whole
from robaudit.data.source import Dataset
from robaudit.errors import RobauditError, UnreadableSampleError, UsageError

__all__ = ["ArrayDataset", "open_npz", "peek_classes", "peek_npz", "read_npz"]

SLACK = 1e-6
"""How far outside of the domain values may lie, over its width; they are clipped."""
MOST_LABELS = 2**24
"""Labels that are looked at to count classes before anything else is known."""
NAMED = 12
"""Arrays named in a message."""
CHUNK = 2**24
"""Values looked at together, to bound the memory of it."""


class ArrayDataset(Dataset):
    """Samples of an array, already C x H x W (or of the model's own shape)."""

    def __init__(self, x: NDArray[Any], lo: float, hi: float, **fields: Any) -> None:
        super().__init__(**fields)
        self._x, self._lo, self._hi = x, lo, hi

    def read(self, index: int) -> NDArray[Any]:
        """A sample in u-space.

        Raises:
            UnreadableSampleError: it holds NaN or infinity.
        """
        values: NDArray[Any] = self._x[index]
        if values.dtype == np.uint8:
            pixels: NDArray[Any] = values.astype(np.float32) / np.float32(255)
            return pixels
        if not np.isfinite(values).all():
            raise UnreadableSampleError(f"sample {index} holds NaN or infinity")
        scaled = (values.astype(np.float64) - self._lo) / (self._hi - self._lo)
        u: NDArray[Any] = np.clip(scaled, 0.0, 1.0).astype(np.float32)
        return u

    def stored(self, index: int) -> bytes | None:
        """The array's own bytes."""
        return np.ascontiguousarray(self._x[index]).tobytes()


def peek_npz(path: Path) -> tuple[int, ...] | None:
    """Canonical shape of a sample, from the header alone; None where it is no readable archive."""
    try:
        with open_arrays(path) as archive:
            shape = archive.shape("x")[1:]
    except Exception:  # opening it in earnest says what is wrong
        return None
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3 and shape[0] not in (1, 3, 4) and shape[2] in (1, 3, 4):
        return (shape[2], shape[0], shape[1])
    return shape


def peek_classes(path: Path) -> int | None:
    """The number of classes that the labels of an archive tell: columns of one-hot labels, else one more than the
    largest number; None where it has none, or is not readable.
    """
    try:
        with open_arrays(path) as archive:
            if archive.shape("y")[0] > MOST_LABELS:
                return None
            y = archive["y"]
        if y.ndim == 2 and y.shape[1] > 1:
            return int(y.shape[1])
        numbers = [whole(text) for text in set(label_texts(y, len(y), str(path))) if text]
        return max((number for number in numbers if number is not None), default=0) + 1
    except Exception:  # opening it in earnest says what is wrong
        return None


def open_npz(
    path: Path,
    *,
    shape: tuple[int, ...],
    lo: float,
    hi: float,
    num_classes: int | None,
    class_names: list[str] | None = None,
    labelled: bool = True,
) -> Dataset:
    """Open an archive; the arrays are held in memory as they are stored.

    Args:
        path: of the ``.npz``.
        shape: canonical shape that the model takes.
        lo, hi: the domain, in which floats must lie; uint8 means 0 to 255.
        num_classes: of the model.
        class_names: declared, in the order of the model's outputs.
        labelled: read the labels, if there are any.

    Raises:
        UsageError: no such archive, the wrong shape, values outside of the domain, or labels that do not fit.
    """
    x, y, digest = read_npz(path)
    notes: list[str] = []
    x = _fit(path, x, shape, notes)
    if x.dtype != np.uint8:
        if x.dtype.kind not in "fiu":
            raise UsageError(f"x in {path} has type {x.dtype}; it must hold numbers")
        _check_range(path, x, lo, hi)
    ids = [f"{path.name}[{i}]" for i in range(len(x))]
    problems: dict[int, str] = {}
    index, names, order = None, class_names, "declared" if class_names else None
    if y is not None and labelled:
        labels = array_labels(y, len(x), declared=class_names, num_classes=num_classes, where=f"y of {path}")
        index, names, order = labels.index, labels.names, labels.order
        problems = labels.problems
        notes += [*lost_note(problems, ids), *labels.notes]
    return ArrayDataset(
        x,
        lo,
        hi,
        source=str(path),
        kind="array",
        ids=ids,
        labels=index,
        digest=digest,
        class_names=names,
        class_order=order,
        notes=notes,
        problems={i: f"{ids[i]} {reason}" for i, reason in problems.items()},
    )


def read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None, str]:
    """(x, y or None, SHA-256 of the file).

    Raises:
        UsageError: no readable archive, or one without x.
    """
    try:
        with open_arrays(path) as archive:
            if "x" not in archive:
                more = ", ..." if len(archive.files) > NAMED else ""
                held = ", ".join(name[:60] for name in archive.files[:NAMED]) or "nothing"
                raise UsageError(f"{path} has no array x (it holds: {held}{more})")
            x = archive["x"]
            if "y" in archive and archive.shape("y")[:1] not in ((), x.shape[:1]):
                raise UsageError(f"{path} holds {len(x)} samples and {archive.shape('y')[0]} labels")
            y = _labels(archive, path) if "y" in archive else None
            digest = archive.digest()
    except RobauditError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"there is no data file {path}") from error
    except Exception as error:  # a damaged archive may break zipfile, its decompressors or NumPy anywhere
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"{path} is no readable .npz archive: {reason}") from error
    if x.ndim < 2 or len(x) == 0:
        raise UsageError(f"x in {path} has shape {x.shape}; it must be samples first, at least one")
    return x, y, digest


def _labels(archive: Arrays, path: Path) -> NDArray[Any]:
    """The array y.

    Raises:
        UsageError: it is stored as Python objects, which are code.
    """
    try:
        return archive["y"]
    except ValueError as error:
        raise UsageError(
            f"y in {path} is stored as Python objects, which are not loaded; store y.astype(str), or numbers: {error}"
        ) from error


def _fit(path: Path, x: NDArray[Any], shape: tuple[int, ...], notes: list[str]) -> NDArray[Any]:
    """Bring an array to the canonical shape by adding or moving the channel; never by resizing."""
    given = x.shape[1:]
    if given == shape:
        return x
    if len(shape) == 3 and shape[0] == 1 and given == shape[1:]:
        notes.append("a channel dimension was added")
        return x[:, None]
    if len(shape) == 3 and len(given) == 3 and (given[2], given[0], given[1]) == shape:
        notes.append("the channels were moved from last to first")
        return np.moveaxis(x, -1, 1)
    words = "x".join(map(str, given))
    wanted = "x".join(map(str, shape))
    raise UsageError(
        f"x in {path} holds samples of {words}, the model takes {wanted}; arrays are never resized: prepare them, or "
        "give an image folder"
    )


def _check_range(path: Path, x: NDArray[Any], lo: float, hi: float) -> None:
    low, high = np.inf, -np.inf
    step = max(1, CHUNK // max(1, x[0].size))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        part = part[np.isfinite(part)] if part.dtype.kind == "f" else part
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    if low > high:
        raise UsageError(f"x in {path} holds no finite value")
    slack = SLACK * (hi - lo)
    if low < lo - slack or high > hi + slack:
        how = "--domain LOW,HIGH, or store images as uint8"
        if x.ndim == 2:
            how = "each feature its own range with --feature-ranges FILE.csv, which may be partial, or store the table "
            how += "as CSV; --domain LOW,HIGH is one range for all features"
        raise UsageError(
            f"x in {path} holds values from {low:g} to {high:g}, outside of the domain [{lo:g}, {hi:g}]; give {how}"
        )
