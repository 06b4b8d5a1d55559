"""The scores of a file's classes, and how sure it is of the likeliest, by which a service rejects; in NumPy alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.result.document import Reading

__all__ = ["class_scores", "confidence", "file_confidence", "file_scores"]


def class_scores(flat: NDArray[Any], kind: str, reading: Reading) -> NDArray[Any]:
    """[K] scores whose largest is the class, of the numbers [M] that a file gives; as ``Head.scores``.

    Args:
        flat: scores of all classes, or of the second of two alone; none of pairs.
        kind: of the head.
        reading: how the audit read it.
    """
    if flat.size == 1 and reading.threshold is not None:
        flat = flat - flat.dtype.type(reading.threshold)
    if flat.size == 1 and flat[0] == np.inf and kind in ("logits", "sigmoids"):
        flat = np.array([-np.inf, 0.0], flat.dtype)  # beside it nothing counts
    elif flat.size == 1:
        flat = np.append(_other(flat, kind), flat)
    if reading.turned:
        flat = flat[::-1] if flat.size == 2 else -flat
    return flat


def confidence(scores: NDArray[Any], kind: str) -> float:
    """The highest probability that scores [K] give to a class, NaN where they name none; as the oracle has it."""
    if np.isnan(scores).any():
        return math.nan
    highest = scores.max()
    if kind == "logits":
        with np.errstate(invalid="ignore"):
            return float(1 / np.exp(scores.astype(np.float64) - float(highest)).sum())
    return float(np.exp(np.float64(highest))) if kind == "log-probabilities" else float(highest)


def file_confidence(raw: NDArray[Any], kind: str, classes: int, reading: Reading) -> float:
    """The same of one raw output [1, ...], which ends with the label that the file says where the audit read one."""
    return confidence(file_scores(raw, kind, classes, reading), kind)


def file_scores(raw: NDArray[Any], kind: str, classes: int, reading: Reading) -> NDArray[Any]:
    """[K] the scores of one raw output [1, ...], as the audit has them: of a label 1 for its class; NaN for none."""
    flat = raw.reshape(-1)
    if kind == "labels":
        label = int(flat[0])
        if reading.signed:
            label = {-1: 0, 1: 1}.get(label, -1)
        found = np.eye(1, classes, label, dtype=np.float32)[0] if 0 <= label < classes else None
        return np.full(classes, np.nan, dtype=np.float32) if found is None else found
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)
    numbers = flat if reading.label is None else flat[:-1]
    if reading.pairs:
        scores = _weakest(-numbers if reading.turned else numbers, classes)
    else:
        scores = class_scores(numbers, kind, reading)
    return scores if reading.label is None else _ruled(scores, int(flat[-1]))


def _other(score: NDArray[Any], kind: str) -> NDArray[Any]:
    """The first class's score, where the file gives that of the second alone."""
    if kind == "log-probabilities":
        found: NDArray[Any] = np.log(np.maximum(-np.expm1(score), np.finfo(score.dtype).tiny))
        return found
    return 1 - score if kind == "probabilities" else np.zeros_like(score)


def _weakest(pairs: NDArray[Any], classes: int) -> NDArray[Any]:
    """[K] how clearly each class beats its strongest rival, of one against one."""
    first, second = np.triu_indices(classes, 1)
    duels = np.full((classes, classes), np.inf, pairs.dtype)
    duels[first, second], duels[second, first] = pairs, -pairs
    return _ruled(duels.min(1), int((duels > 0).sum(1).argmax()))


def _ruled(scores: NDArray[Any], label: int) -> NDArray[Any]:
    """[K] scores of which the label's is the largest, by the last bit where it was not; NaN where it is no class."""
    if not 0 <= label < len(scores):
        return np.full_like(scores, np.nan)
    if not np.isnan(scores).any() and scores.argmax() != label:
        scores = scores.copy()
        scores[label] = np.nextafter(scores.max(), scores.dtype.type(np.inf))
    return scores
