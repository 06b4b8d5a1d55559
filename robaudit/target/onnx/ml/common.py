"""What the families of ai.onnx.ml share: types, labels and the transforms of scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node

T = TypeVar("T")
_NEARLY_ZERO = 1e-7
# The constant of the approximation to erfinv that ONNX Runtime uses (Winitzki).
_WINITZKI = 0.147


def float_type(node: Node) -> torch.dtype:
    """The type in which this domain computes and answers: float32, whatever the input's, until retyped."""
    one: Tensor = node.attributes["one"]
    return one.dtype


def weights(node: Node, name: str) -> Tensor:
    """A list of floats among the attributes, as a vector; empty when it is absent."""
    value: Tensor | None = node.attributes.get(name)
    return torch.zeros(0, dtype=float_type(node)) if value is None else value


def once(node: Node, name: str, make: Callable[[], T]) -> T:
    """What a node's attributes are turned into, kept with them: a graph is traced several times."""
    key = f"made: {name}"
    if key not in node.attributes:
        node.attributes[key] = make()
    made: T = node.attributes[key]
    return made


def rows(node: Node, x: Tensor) -> Tensor:
    """The input as [N, F]; a vector is one row."""
    if x.dim() == 1:
        return torch.unsqueeze(x, 0)
    if x.dim() != 2:
        raise node.unsupported(f"an input of rank {x.dim()}")
    return x


def label_codes(node: Node, ints: str) -> Tensor:
    """The classes' labels: integers as declared, or positions when the labels are strings."""
    names = node.attributes.get("classlabels_strings")
    if names:
        return torch.arange(len(names))
    return torch.tensor(node.integers(ints) or [], dtype=torch.int64)


def first_largest(scores: Tensor) -> Tensor:
    """The position of the largest number of each row, the first one of equals (torch.argmax promises none)."""
    hits = (scores == torch.amax(scores, -1, keepdim=True)).to(torch.int64)
    return torch.argmax(hits * torch.arange(scores.shape[-1], 0, -1), -1)


def two_columns(first: Tensor, second: Tensor) -> Tensor:
    """Two vectors [N] or columns [N, 1] as [N, 2]."""
    return torch.stack([torch.reshape(first, [-1]), torch.reshape(second, [-1])], 1)


def one_score(node: Node, scores: Tensor, kind: str) -> Tensor:
    """Two columns from the only score of two classes, which the runtime mostly takes for a probability."""
    if kind == "PROBIT":
        raise node.unsupported("PROBIT of a single score")
    if kind == "LOGISTIC":
        return torch.sigmoid(two_columns(-scores, scores))
    return two_columns(1 - scores, scores)


def transformed(node: Node, scores: Tensor, kind: str) -> Tensor:
    """A ``post_transform`` of [N, C]; ONNX Runtime ignores all but PROBIT where C is 1."""
    if kind == "PROBIT":
        return _probit(scores)
    if kind == "NONE" or scores.shape[-1] == 1:
        return scores
    if kind == "LOGISTIC":
        return torch.sigmoid(scores)
    if kind == "SOFTMAX":
        return torch.softmax(scores, -1)
    if kind == "SOFTMAX_ZERO":
        return _softmax_zero(scores)
    raise node.unsupported(f"post_transform {kind}")


def _softmax_zero(scores: Tensor) -> Tensor:
    """A softmax over the scores that are not zero; a zero stays one."""
    zero = torch.abs(scores) <= _NEARLY_ZERO
    # The result does not depend on what is subtracted.
    largest = torch.amax(scores, -1, keepdim=True).detach()
    powers = torch.exp(scores - largest)
    total = torch.sum(torch.where(zero, 0.0, powers), -1, keepdim=True)
    return torch.where(zero, scores * torch.exp(-largest), powers) / total


def _probit(p: Tensor) -> Tensor:
    """An approximate inverse of the normal distribution function, by the very formula of the runtime."""
    x = 2 * p - 1
    log = torch.log((1 - x) * (1 + x))
    half = 2 / (math.pi * _WINITZKI) + 0.5 * log
    square = torch.sqrt(half * half - log / _WINITZKI) - half
    # At p = 0.5 the root is 0 and its slope infinite.
    root = torch.sqrt(torch.clamp(square, min=torch.finfo(p.dtype).tiny))
    return math.sqrt(2) * torch.where(x < 0, -root, root)
