"""Labels as arrays hold them: one number or name a sample, or one-hot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.labels import Labels, resolve_labels
from robaudit.data.numbers import few
from robaudit.errors import UsageError
from robaudit.plural import counted

__all__ = ["array_labels", "label_texts", "lost_note", "one_hot"]

NAMED = 3
"""Samples that a note names."""


def label_texts(y: NDArray[Any], count: int, where: str, what: str = "label") -> list[str]:
    """Labels of an array as text, empty where one is NaN: numbers, booleans, or names; N, or N x 1.

    Raises:
        UsageError: not one label for each of ``count`` samples.
    """
    flat = np.asarray(y)
    if flat.ndim == 2 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.ndim != 1 or flat.dtype.kind not in "iufbUS":
        raise UsageError(
            f"the {what}s in {where} must be one number or name a sample, or one-hot, not {flat.dtype} of shape "
            f"{np.shape(y)}"
        )
    if len(flat) != count:
        raise UsageError(f"{where} holds {counted(count, 'sample')} and {counted(len(flat), what)}")
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8", errors="replace")
    return ["" if isinstance(v, float) and np.isnan(v) else _text(v) for v in flat.tolist()]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def lost_note(problems: Mapping[int, str], ids: Sequence[str]) -> list[str]:
    """How many samples cannot be audited and why, naming the first; nothing where all can."""
    if not problems:
        return []
    first = sorted(problems)[:NAMED]
    named = "; ".join(f"{ids[i]} {problems[i]}" for i in first)
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return [f"{len(problems)} of {len(ids)} samples cannot be audited: {named}{more}"]


def one_hot(values: NDArray[Any], where: str) -> tuple[list[int | None], dict[int, str]]:
    """(column of the one 1 in each row, None where it has none; why, as the end of a sentence).

    Args:
        values: [N, K] numbers or booleans.
        where: they are, for messages.

    Raises:
        UsageError: they are something else, such as scores, or several labels a sample.
    """
    numbers = values.astype(np.float64)
    missing = ~np.isfinite(numbers).all(1)
    if not np.isin(numbers[~missing], (0.0, 1.0)).all():
        raise UsageError(
            f"{where} holds {values.shape[1]} numbers a sample that are not one-hot; give one label a sample"
        )
    counts = np.where(missing, 0, numbers.sum(1))
    several = int((counts > 1).sum())
    if several and not few(several, len(counts)):
        raise UsageError(
            f"{where} marks several classes for {several} of {len(counts)} samples; give one label a sample"
        )
    problems = {
        i: "has no label" if counts[i] < 1 else "has several labels" for i in np.flatnonzero(counts != 1).tolist()
    }
    if len(problems) == len(counts):
        raise UsageError(f"{where} holds no label")
    return [None if i in problems else int(row.argmax()) for i, row in enumerate(numbers)], problems


def array_labels(
    y: NDArray[Any], count: int, *, declared: Sequence[str] | None, num_classes: int | None, where: str
) -> Labels:
    """The class of each sample of an array; see :func:`resolve_labels`. One-hot columns are the model's own order.

    Args:
        y: N, N x 1, or N x K with one 1 a row.
        count: N.
        declared: names of the classes in the order of the model's outputs.
        num_classes: K of the model.
        where: the labels are, for messages.

    Raises:
        UsageError: they do not fit.
    """
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "iufb" or len(y) != count:
        texts = label_texts(y, count, where)
        return resolve_labels(texts, declared=declared, num_classes=num_classes, where=where)
    places, problems = one_hot(y, where)
    if num_classes is not None and y.shape[1] != num_classes:
        raise UsageError(f"{where} is one-hot in {y.shape[1]} columns, and the model has {num_classes} classes")
    index = np.array([-1 if place is None else place for place in places], dtype=np.int64)
    names = list(declared) if declared is not None else None
    return Labels(
        index, names, "declared" if names else "numeric", problems, [f"{where} is one-hot; columns are classes"]
    )
