"""Proves a twin that ends earlier than its file on the file's own answers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.files.model_file import ModelFile
from robaudit.target.head.answers import is_decided
from robaudit.target.head.scores import Head
from robaudit.target.measures.parity import differences, size_of

__all__ = ["best_head", "twin_answer"]

PROOF = 0.02
"""Largest difference between the file and its peeled twin, over the largest score; half precision needs it."""
AGREEMENT = 0.75
"""Least share of probes on which they agree: one may lie where a last bit decides."""
READINGS = ((False, True), (True, False), (True, True))
"""Of the numbers that a label is decided on: (one for each pair of classes, the smallest wins)."""


def twin_answer(file: ModelFile, x: Tensor) -> Tensor | None:
    """The twin's answers; None where it has none, which is told when it is made ready for use."""
    if file.no_gradient is not None:
        return None
    try:
        with torch.no_grad():
            return file.differentiable(x)
    except Exception:  # torch raises many types for a graph that does not run
        return None


def best_head(head: Head, answer: Tensor, raw: Tensor) -> Head:
    """The head whose peeled twin, with the end put back on it, gives the file's own answers; unpeeled where none does.

    Of a decision it is tried whether the smallest number wins, and whether there is one for each pair of classes.
    """
    tried = [head]
    if head.kind == "labels" and head.tail is not None and head.tail.decision == "argmax":
        tried += [replace(head, pairs=pairs, turned=turned) for pairs, turned in READINGS]
    shares = [_share(each, answer, raw) for each in tried]
    best = max(shares)
    return tried[shares.index(best)] if best >= AGREEMENT else replace(head, tail=None)


def _share(head: Head, answer: Tensor, raw: Tensor) -> float:
    """Share of the rows on which they do."""
    wanted = head.classes * (head.classes - 1) // 2 if head.pairs else head.classes
    if head.kind == "labels" and answer.flatten(1).shape[1] not in (1, wanted):
        return 0.0
    found = head.replayed(answer).double()
    expected = (head.scores(raw) if head.kind == "labels" else head.own_scores(raw)).double()
    if found.shape != expected.shape:
        return 0.0
    rows = is_decided(found) & is_decided(expected)
    if not bool(rows.any()):
        return 1.0
    found, expected = found[rows], expected[rows]
    if head.kind == "labels":
        equal = found.argmax(1) == expected.argmax(1)
    else:
        away = differences(found, expected, logarithms=head.logarithms).amax(1)
        equal = away <= PROOF * max(size_of(expected), 1e-12)
    return float(equal.double().mean())
