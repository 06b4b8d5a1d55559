"""Do scores say what the label output beside them says? It is measured, and they are read as they do.

The label is what ``predict`` answers. Between two samples with different labels it changes somewhere: there the scores
of the two classes must be equal, which tells another threshold, sign or order from the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.head.scores import Head, Kind

__all__ = ["MOST", "agreeing", "disagreement"]

PAIRS = 6
"""Ways between two samples that are halved, and ``HALVINGS`` of each."""
HALVINGS = 8
TIE = 1e-4
"""Scores whose difference over the largest score is less are equal."""
MOST = 0.02
"""Share of the points on which scores may say another class: there the label decides."""


def agreeing(head: Head, ask: Callable[[Tensor], Tensor], u: Tensor, raw: Tensor) -> tuple[Head | None, str, Tensor]:
    """The reading of the scores that agrees with the label output.

    Args:
        head: as the numbers look; ``labelled``.
        ask: [N, *shape] in u-space to raw outputs, each input alone.
        u: [N, *shape] samples.
        raw: answers to them.

    Returns:
        The head, None where no reading agrees; what it is in words, empty where the head was right; the points [M,
        *shape] that it was tried on.
    """
    u, raw = _between(head, ask, u, raw)
    for other, words in _readings(head, raw):
        if _disagreement(other, raw) <= MOST:
            return other, words, u
    return None, "", u


def disagreement(head: Head, ask: Callable[[Tensor], Tensor], u: Tensor) -> tuple[int, int]:
    """(points on which the scores clearly prefer another class than the label output says, points that were tried).

    Args:
        head: ``labelled``, as the scores are read.
        ask: [N, *shape] in u-space to raw outputs, each input alone.
        u: [N, *shape] samples; points between them are tried as well.
    """
    _, raw = _between(head, ask, u, ask(u))
    return round(_disagreement(head, raw) * len(raw)), len(raw)


def _between(head: Head, ask: Callable[[Tensor], Tensor], u: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """The samples, and points where the label changes between two of them, by bisection; with the answers."""
    label = head.label(raw)
    ends = [(i, j) for gap in range(1, len(u)) for i in range(len(u) - gap) if label[i] != label[j := i + gap]][:PAIRS]
    if not ends:
        return u, raw
    first, second = (torch.tensor(side, device=u.device) for side in zip(*ends, strict=True))
    low, high, start = u[first], u[second], label[first]
    points, answers = [u], [raw]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        answer = ask(middle)
        points.append(middle)
        answers.append(answer)
        same = (head.label(answer) == start).reshape(-1, *([1] * (u.dim() - 1)))
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return torch.cat(points), torch.cat(answers)


def _readings(head: Head, raw: Tensor) -> Iterator[tuple[Head, str]]:
    """What the numbers can mean, the likeliest first."""
    yield head, ""
    columns = raw.flatten(1).shape[1] - 1
    if head.single:
        kind: Kind = "logits" if head.kind == "probabilities" or head.threshold is not None else "probabilities"
        other = replace(head, kind=kind, threshold=None, settled=True)
        at = 0 if other.kind == "logits" else 0.5
        yield other, f"the second class is above {at}"
        yield replace(head, turned=True, settled=True), "it is of the first class"
        yield replace(other, turned=True), f"the first class is above {at}"
        return
    plain = replace(head, kind="logits")
    yield replace(head if columns == 2 else plain, turned=not head.turned), "the smallest score wins"
    classes = head.classes if head.pairs else columns
    if columns == classes * (classes - 1) // 2 and not head.pairs:
        yield replace(plain, pairs=True, classes=classes), "each score is of a pair"
        yield replace(plain, pairs=True, classes=classes, turned=True), "each score is of a pair, turned round"


def _disagreement(head: Head, raw: Tensor) -> float:
    """Share of the points with a label on which the scores clearly prefer another class."""
    label = head.label(raw)
    scores = head.own_scores(raw).double()
    known = (label >= 0) & (label < scores.shape[1]) & ~scores.isnan().any(1) & (scores.amax(1) < torch.inf)
    if not bool(known.any()):
        return 0.0
    scores, label = scores[known], label[known]
    finite = scores[scores.isfinite()].abs()
    size = float(finite.amax()) if finite.numel() else 1.0
    behind = scores.amax(1) - scores.gather(1, label[:, None])[:, 0]
    return float((behind > TIE * size).double().mean())
