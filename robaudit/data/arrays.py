"""Arrays in an ``.npz`` file: ``x``, and ``y`` if there are labels."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.label_arrays import array_labels, label_texts, lost_note
from robaudit.data.npz import Arrays, open_arrays
from robaudit.data.numbers import whole
from robaudit.data.ranges import Ranges
from robaudit.data.reader import Fit, Reader, Source, Wanted
from robaudit.data.source import Dataset
from robaudit.data.table import Table
from robaudit.data.tabular import open_table
from robaudit.data.targets import array_targets
from robaudit.errors import RobauditError, UnreadableSampleError, UsageError, reason
from robaudit.files import open_regular
from robaudit.plural import counted

__all__ = ["ArrayDataset", "ArrayReader", "ArraySource", "canonical", "classes_in", "read_npz"]

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


class ArrayReader(Reader):
    """``.npz`` archives."""

    name = "an .npz archive with x and y"
    suffixes = (".npz",)

    def check(self, path: Path) -> None:
        """Refuse a file that is no archive."""
        with open_regular(path, peek=True) as file:
            readable = zipfile.is_zipfile(file)
        if not readable:
            raise UsageError(f"{path} is no readable .npz archive: it is no zip file")

    def open(self, path: Path, wanted: Wanted) -> ArraySource:
        """Read the arrays, once."""
        if wanted.labels is not None:
            raise UsageError(f"--labels {wanted.labels} is for image folders; put the labels of {path} into it as y")
        return ArraySource(path, *read_npz(path), labelled=wanted.labelled)


class ArraySource(Source):
    """Arrays in memory, as they are stored."""

    ranged = True
    labels_go = "as y"

    def __init__(
        self, path: Path, x: NDArray[Any], y: NDArray[Any] | None, digest: str, *, labelled: bool = True
    ) -> None:
        self._path, self._y, self._digest, self._labelled = path, y, digest, labelled
        self.values = x
        self.shape = canonical(x.shape[1:])
        self.classes = classes_in(y, str(path))

    def samples(self, fit: Fit) -> Dataset:
        """The samples, in their ranges where each feature has its own."""
        assert self.values is not None
        if fit.ranges is None:
            return array_dataset(self._path, self.values, self._y if self._labelled else None, self._digest, fit)
        table = self._table(self.values, fit.ranges)
        labels = None
        if self._y is not None and self._labelled:
            where = f"y of {self._path}"
            declared, count = fit.class_names, fit.num_classes
            labels = array_labels(self._y, len(self._y), declared=declared, num_classes=count, where=where)
        return open_table(table, fit, labelled=self._labelled, labels=labels)

    def _table(self, x: NDArray[Any], ranges: Ranges) -> Table:
        """Arrays as a table whose columns are in the order of the ranges."""
        if x.ndim != 2 or x.shape[1] != len(ranges):
            words = "x".join(map(str, x.shape[1:]))
            raise UsageError(f"x in {self._path} holds samples of {words}, and there are {len(ranges)} ranges")
        if self._y is not None and (self._y.ndim == 0 or len(self._y) != len(x)):
            raise UsageError(f"{self._path} holds {counted(len(x), 'sample')} and {counted(self._y.size, 'label')}")
        lines = tuple(range(len(x)))
        return Table(self._path, ranges.names, x.astype("float64"), None, lines, self._digest, "row")

    def targets(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The array ``target``."""
        return array_targets(self._path, len(ids))


def canonical(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a sample as models take it: images with the channels first."""
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3 and shape[0] not in (1, 3, 4) and shape[2] in (1, 3, 4):
        return (shape[2], shape[0], shape[1])
    return shape


def classes_in(y: NDArray[Any] | None, where: str) -> int | None:
    """The number of classes that labels tell: columns of one-hot labels, else one more than the largest number; None
    where that is no number of classes.
    """
    if y is None or y.ndim == 0 or len(y) > MOST_LABELS:
        return None
    try:
        if y.ndim == 2 and y.shape[1] > 1:
            return int(y.shape[1])
        numbers = [whole(text) for text in set(label_texts(y, len(y), where)) if text]
    except UsageError:  # resolving them says what is wrong
        return None
    count = max((number for number in numbers if number is not None), default=0) + 1
    return None if count < 2 else count


def array_dataset(path: Path, x: NDArray[Any], y: NDArray[Any] | None, digest: str, fit: Fit) -> Dataset:
    """The samples of arrays.

    Args:
        path: of the archive.
        x: samples as they are stored; uint8 means 0 to 255, other numbers lie in the domain.
        y: labels; None: there are none, or none are wanted.
        digest: of the archive.
        fit: what they have to fit.

    Raises:
        UsageError: the wrong shape, values outside of the domain, or labels that do not fit.
    """
    notes: list[str] = []
    x = _fit(path, x, fit.shape, notes)
    if x.dtype != np.uint8:
        if x.dtype.kind not in "fiu":
            raise UsageError(f"x in {path} has type {x.dtype}; it must hold numbers")
        _check_range(path, x, fit.lo, fit.hi)
    ids = [f"{path.name}[{i}]" for i in range(len(x))]
    problems: dict[int, str] = {}
    index, names, order = None, fit.class_names, "declared" if fit.class_names else None
    if y is not None:
        declared, count = fit.class_names, fit.num_classes
        labels = array_labels(y, len(x), declared=declared, num_classes=count, where=f"y of {path}")
        index, names, order = labels.index, labels.names, labels.order
        problems = labels.problems
        notes += [*lost_note(problems, ids), *labels.notes]
    return ArrayDataset(
        x,
        fit.lo,
        fit.hi,
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
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    except Exception as error:  # a damaged archive may break zipfile, its decompressors or NumPy anywhere
        raise UsageError(f"{path} is no readable .npz archive: {reason(error, 200)}") from error
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
