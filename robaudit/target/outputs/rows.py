"""What a runtime returns, as one row of numbers an input; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import RobauditError

__all__ = ["class_index", "one_key", "read_rows", "score_columns", "width_of"]


def width_of(shape: Sequence[int], rows: int) -> int | None:
    """Numbers of each row in an array of this shape, for so many inputs; None where it has not one row an input.

    [N], [N, K], [N, 1, K], [N, K, 1, 1] and the like; for one input also [K], as of a squeezed batch.
    """
    if len(shape) < 2 and rows == 1:
        return shape[0] or None if shape else 1
    if not shape or shape[0] != rows:
        return None
    wide = [size for size in shape[1:] if size != 1]
    return None if len(wide) > 1 or 0 in wide else (wide or [1])[0]


def read_rows(
    results: Mapping[str, Any],
    names: Sequence[str],
    rows: int,
    role: str,
    values: Sequence[Any] | None,
    label: str | None = None,
) -> NDArray[Any]:
    """Outputs as [rows, K] scores, or [rows, 1] class indices where the role is ``labels`` or ``ranks``.

    Args:
        results: by output: an array, or a dictionary from class to score for each input.
        names: the output, or one output a class.
        rows: inputs that were asked.
        role: see :class:`robaudit.target.outputs.declared.Choice`.
        values: what the file calls its classes, in the order of the scores.
        label: output that says the class, whose index becomes one more column.

    Raises:
        RobauditError: one has not one row an input.
    """
    columns = [_read(results[name], name, rows, role, values) for name in names]
    if label is not None:
        columns.append(_read(results[label], label, rows, "labels", values))
    if len(columns) == 1:
        return columns[0]
    kind = np.result_type(np.float32, *(column.dtype for column in columns[: len(names)]))
    return np.concatenate([column.astype(kind) for column in columns], axis=1)


def _read(result: Any, name: str, rows: int, role: str, values: Sequence[Any] | None) -> NDArray[Any]:
    maps = isinstance(result, list)
    array = score_columns(result, values) if maps else np.asarray(result)
    width = width_of(array.shape, rows)
    if width is None or (role == "ranks" and array.ndim < 2):
        words = "x".join(map(str, array.shape))
        raise RobauditError(f"the output {name} of {rows} inputs has shape {words}, not one row an input")
    array = array.reshape(rows, width)
    if role in ("labels", "ranks"):
        return class_index(array[:, :1], values)
    return array.astype(np.float32) if array.dtype.kind in "iub" else array


def score_columns(answer: Any, values: Sequence[Any] | None) -> NDArray[Any]:
    """[N, K] scores; dictionaries in the order of the declared classes, else of their sorted keys.

    Raises:
        RobauditError: a list holds anything else, or its dictionaries have different keys.
    """
    if isinstance(answer, list):
        if not answer or not all(isinstance(row, Mapping) and row.keys() == answer[0].keys() for row in answer):
            raise RobauditError("an output is a list, and not of one dictionary of scores an input")
        keys = list(values) if values and all(v in answer[0] for v in values) else sorted(answer[0])
        return np.asarray([[row[key] for key in keys] for row in answer])
    array = np.asarray(answer)
    return array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)


def class_index(labels: NDArray[Any], values: Sequence[Any] | None) -> NDArray[Any]:
    """Labels as class indices; -1 for one that is not among the declared classes."""
    if labels.dtype.kind == "f":  # of an ArgMax that was cast
        whole = np.isfinite(labels) & (labels == np.rint(labels)) & (np.abs(labels) < 2**31)
        labels = np.where(whole, labels, -1).astype(np.int64)
    if values is None or list(values) == list(range(len(values))):
        if labels.dtype.kind in "iub":
            return labels.astype(np.int64)
        values = values or range(0)
    table = {one_key(value): i for i, value in enumerate(values)}
    found = [table.get(one_key(value), -1) for value in labels.ravel().tolist()]
    return np.asarray(found, dtype=np.int64).reshape(labels.shape)


def one_key(value: Any) -> str:
    """The same for 2, "2" and b"2": converters write the numbers of classes as text here and there."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
