"""Class probabilities from the probabilities of pairs of classes (Wu, Lin and Weng 2004, second method).

The runtime iterates until the error is below a bound, so its result depends on where it stops: the same
steps are made here, sample by sample as many as there.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

_CLOSEST = 1e-7
_ROUNDS = 100
_TOLERANCE = 0.005


def pair_probabilities(scores: Tensor, slopes: Tensor, offsets: Tensor) -> Tensor:
    """Platt's sigmoid of each pair's score: how likely the first of the pair is, away from 0 and 1."""
    count = scores.shape[1]
    return torch.clamp(torch.sigmoid(-(scores * slopes[:count] + offsets[:count])), _CLOSEST, 1 - _CLOSEST)


def couple(pairs: Tensor, classes: int) -> Tensor:
    """[N, pairs] -> [N, classes]; recorded as one call, as its number of rounds depends on the data."""
    if has_torch_function_unary(pairs):
        coupled: Tensor = handle_torch_function(couple, (pairs,), pairs, classes)
        return coupled
    if pairs.is_meta:
        return pairs.new_empty((pairs.shape[0], classes))
    quadratic = _quadratic(pairs, classes)
    p = torch.full_like(pairs[:, :1], 1 / classes).expand(-1, classes)
    for _ in range(_ROUNDS):
        gradient = _times(quadratic, p)
        value = torch.sum(p * gradient, 1, keepdim=True)
        active = torch.amax(torch.abs(gradient - value), 1, keepdim=True) >= _TOLERANCE / classes
        if not bool(active.any()):
            break
        # A finished sample takes no further step: neither its value nor its gradient may come from one.
        p = torch.where(active, _round(quadratic, p, gradient, value), p)
    return p


def _quadratic(pairs: Tensor, classes: int) -> list[Tensor]:
    """The form to be minimised: a list of its columns, each [N, classes]."""
    beats: dict[tuple[int, int], Tensor] = {}
    for index, (i, j) in enumerate(itertools.combinations(range(classes), 2)):
        beats[i, j], beats[j, i] = pairs[:, index], 1 - pairs[:, index]
    columns = []
    for i in range(classes):
        others = [j for j in range(classes) if j != i]
        diagonal = torch.zeros_like(pairs[:, 0])
        for j in others:
            diagonal = diagonal + beats[j, i] * beats[j, i]
        columns.append(torch.stack([diagonal if j == i else -beats[j, i] * beats[i, j] for j in range(classes)], 1))
    return columns


def _times(quadratic: list[Tensor], p: Tensor) -> Tensor:
    total = quadratic[0] * p[:, :1]
    for i, column in enumerate(quadratic[1:], 1):
        total = total + column * p[:, i : i + 1]
    return total


def _round(quadratic: list[Tensor], p: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """One pass over the classes: each in turn is set to its best, and all are scaled to sum to 1."""
    for i, column in enumerate(quadratic):
        curvature = column[:, i : i + 1]
        step = (value - gradient[:, i : i + 1]) / curvature
        scale = 1 + step
        p = torch.cat([p[:, :i], p[:, i : i + 1] + step, p[:, i + 1 :]], 1) / scale
        value = (value + step * (step * curvature + 2 * gradient[:, i : i + 1])) / scale / scale
        gradient = (gradient + step * column) / scale
    return p
