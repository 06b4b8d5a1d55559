"""A smooth backward for choices: an index that was found by comparing values, and what is done with it.

The position of a largest or k-th largest value is an integer, and no gradient passes it; what reads it looks something
up (the classes of the nearest neighbours), marks a place (k winners take all) or compares. On the way back each index
is replaced by weights over all places: SoftSort's (Prillo and Eisenschlos 2020, "SoftSort: A Continuous Relaxation for
the argsort Operator", equation 1), which fall with the distance from the value chosen, or a softmax where there is one
largest. As an attack on nearest neighbours: Sitawarin and Wagner 2019, "On the Robustness of Deep K-Nearest Neighbors",
section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Value

__all__ = ["CHOOSERS", "READERS", "chosen_softly", "read_softly"]

_CHOICE = "robaudit_choice"
"""Attribute of an index on its way through a program: the weights of all places, [*index, places]."""
MOST = 65_536
"""Weights of a sample at most; a choice among more has no smooth backward."""


def chosen_softly(node: Node, x: Value, results: tuple[Value, ...], scale: Callable[[Tensor], Tensor]) -> None:
    """Let the index that a node found remember the weights of all places, where they are few enough.

    Args:
        node: TopK, ArgMax or ArgMin.
        x: what it compares.
        results: its results.
        scale: [N, ...] to the width of each sample, [N, 1, ...].
    """
    index = results[-1]
    if not (isinstance(x, Tensor) and x.is_floating_point() and isinstance(index, Tensor)) or x.dim() < 2:
        return
    axis = node.integer("axis", -1 if node.op == "TopK" else 0) % x.dim()
    rows = x.movedim(axis, -1)
    picks = index.shape[axis] if node.op == "TopK" else 1
    if axis == 0 or picks * rows[0].numel() > MOST:
        return
    width = scale(x).movedim(axis, -1)
    if node.op == "TopK":
        picked = torch.gather(x, axis, index).movedim(axis, -1)
        apart = torch.abs(picked.unsqueeze(-1) - rows.unsqueeze(-2)) / width.unsqueeze(-1)
        weights = torch.softmax(-apart, -1).movedim(-2, axis)
    else:
        weights = torch.softmax((rows if node.op == "ArgMax" else -rows) / width, -1)
        if node.integer("keepdims", 1):
            weights = weights.unsqueeze(axis)
    setattr(index, _CHOICE, weights)


def read_softly(node: Node, inputs: list[Value], result: Value) -> Tensor | None:
    """What a node that reads such an index gives with the weights in its place; None where it reads none.

    A result that is an index itself remembers its weights.
    """
    place = READERS[node.op]
    weights = getattr(inputs[place], _CHOICE, None) if place < len(inputs) else None
    if weights is None and node.op == "Equal":
        inputs = inputs[::-1]
        weights = getattr(inputs[0], _CHOICE, None)
    if not isinstance(weights, Tensor) or not isinstance(result, Tensor):
        return None
    if node.op in _MOVES:
        size = weights.shape[-1]
        if result.is_floating_point():
            expected: Tensor = weights @ torch.arange(size, dtype=weights.dtype)
            return expected
        setattr(result, _CHOICE, weights.reshape([*result.shape, size]))
        return None
    return _RULES[node.op](node, inputs, weights)


def _looked_up(node: Node, inputs: list[Value], weights: Tensor) -> Tensor | None:
    """Rows of a table that all samples share."""
    table = inputs[0]
    if not isinstance(table, Tensor) or not is_known(table) or not table.is_floating_point():
        return None
    if node.integer("axis", 0) % table.dim() or table.shape[0] != weights.shape[-1]:
        return None
    found: Tensor = torch.tensordot(weights.to(table.dtype), table, 1)
    return found


def _picked(node: Node, inputs: list[Value], weights: Tensor) -> Tensor | None:
    """Elements of a tensor of the samples' own."""
    x = inputs[0]
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    axis = node.integer("axis", 0) % x.dim()
    rows, mixed = x.movedim(axis, -1), weights.movedim(axis, -2)
    if [*rows.shape[:-1]] != [*mixed.shape[:-2]] or rows.shape[-1] != mixed.shape[-1]:
        return None
    return (mixed.to(rows.dtype) @ rows.unsqueeze(-1)).squeeze(-1).movedim(-1, axis)


def _marked(node: Node, inputs: list[Value], weights: Tensor) -> Tensor | None:
    """A tensor with values put at the places chosen."""
    x, updates = inputs[0], inputs[2]
    if not (isinstance(x, Tensor) and isinstance(updates, Tensor) and x.is_floating_point()):
        return None
    axis = node.integer("axis", 0) % x.dim()
    rows, put = x.movedim(axis, -1), updates.movedim(axis, -1)
    mixed = weights.movedim(axis, -2).to(rows.dtype)
    fits = [*put.shape] == [*mixed.shape[:-1]] and rows.shape[-1] == mixed.shape[-1]
    if node.text("reduction", "none") != "none" or not fits or [*rows.shape[:-1]] != [*put.shape[:-1]]:
        return None
    kept = 1 - torch.clamp(mixed.sum(-2), max=1.0)
    return (rows * kept + (put.unsqueeze(-2) @ mixed).squeeze(-2)).movedim(-1, axis)


def _one_hot(node: Node, inputs: list[Value], weights: Tensor) -> Tensor | None:
    values = inputs[2]
    if not isinstance(values, Tensor):
        return None
    off, on = values.to(weights.dtype)
    found: Tensor = weights * (on - off) + off
    return found.movedim(-1, node.integer("axis", -1) % weights.dim())


def _equal(node: Node, inputs: list[Value], weights: Tensor) -> Tensor | None:
    """Whether it is this place, or that one."""
    other = inputs[1]
    if not isinstance(other, Tensor) or not is_known(other):
        return None
    hit = other.unsqueeze(-1) == torch.arange(weights.shape[-1])
    return (weights * hit.to(weights.dtype)).sum(-1)


CHOOSERS = frozenset({"TopK", "ArgMax", "ArgMin"})
_MOVES = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze"})
_RULES: Mapping[str, Callable[[Node, list[Value], Tensor], Tensor | None]] = {
    "Gather": _looked_up,
    "GatherElements": _picked,
    "ScatterElements": _marked,
    "OneHot": _one_hot,
    "Equal": _equal,
}
READERS: Mapping[str, int] = {
    **dict.fromkeys(("Gather", "GatherElements", "ScatterElements"), 1),
    **dict.fromkeys(("OneHot", "Equal", *_MOVES), 0),
}
"""Operators that read an index, and which of their inputs it is."""
