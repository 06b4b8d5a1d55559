"""Operators that draw: each run anew, from torch's own generator, so that gradients can be means over draws.

What a file draws in ONNX Runtime is drawn apart: only the distribution is the same.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import operator

__all__ = ["DRAWING", "anchored", "draws", "without_draws"]

DRAWING = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")
"""Operators whose result is random, beside a Dropout in training mode."""
STILL = "still"
"""Attribute of a node that gives the middle of its distribution in place of a draw."""


@operator("RandomNormalLike", "RandomNormal")
def _normal(node: Node, *inputs: Tensor) -> Tensor:
    like = _like(node, *inputs)
    drawn = torch.zeros_like(like) if node.integer(STILL, 0) else torch.randn_like(like)
    return drawn * node.number("scale", 1.0) + node.number("mean", 0.0)


@operator("RandomUniformLike", "RandomUniform")
def _uniform(node: Node, *inputs: Tensor) -> Tensor:
    like, low, high = _like(node, *inputs), node.number("low", 0.0), node.number("high", 1.0)
    drawn = torch.full_like(like, 0.5) if node.integer(STILL, 0) else torch.rand_like(like)
    return drawn * (high - low) + low


@operator("Bernoulli", flat=(0,))
def _bernoulli(node: Node, x: Tensor, anchor: Tensor | None = None) -> Tensor:
    chance = x.detach().float()
    like = _traced(node, chance, anchor)
    drawn = torch.full_like(like, 0.5) if node.integer(STILL, 0) else torch.rand_like(like)
    code = node.integer("dtype", 0)
    return (drawn < chance).to(DTYPES[code] if code else x.dtype)


@operator("Dropout")
def _dropout(node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> tuple[Tensor, ...]:
    if training is not None and (not is_known(training) or bool(training.item())):
        if not is_known(training) or (ratio is not None and not is_known(ratio)):
            raise node.unsupported("training mode that the input decides")
        share = 0.5 if ratio is None else float(ratio.item())
        if share == 0.0 or node.integer(STILL, 0):
            return x, torch.ones_like(x, dtype=torch.bool)
        if is_known(x):
            raise node.unsupported("training mode on a constant")
        kept = torch.rand_like(x.detach()) >= share
        return x * kept / (1 - share), kept
    mask = torch.bool if node.version >= 10 else x.dtype
    return (x, torch.ones_like(x, dtype=mask)) if node.wants(1) else (x,)


def _like(node: Node, *inputs: Tensor) -> Tensor:
    """A tensor of the shape and type of the result; its values do not matter."""
    own = 1 if node.op.endswith("Like") else 0
    anchor = inputs[own] if len(inputs) > own else None  # there is none in a nested graph
    if own:
        like = inputs[0].detach() if inputs[0].dtype.is_floating_point else inputs[0].detach().float()
    else:
        like = torch.zeros(node.integers("shape") or [])
    code = node.integer("dtype", 0)
    return _traced(node, like.to(DTYPES[code]) if code else like, anchor)


def _traced(node: Node, like: Tensor, anchor: Tensor | None) -> Tensor:
    """The same tensor as a value of the program's runs: what is known at import is computed once and never drawn again.

    Args:
        node: that draws.
        like: what it draws for.
        anchor: the program's input; see :func:`anchored`.
    """
    if not is_known(like):
        return like
    if anchor is None:
        raise node.unsupported("in a nested graph")
    nothing = torch.zeros_like(anchor.detach().reshape(-1)[:1]).to(like.dtype)
    return like + nothing


def draws(node: Node, graph: Graph) -> bool:
    """Whether a node's result is random."""
    if node.domain:
        return False
    if node.op == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
        training = graph.constants.get(node.inputs[2])
        return training is None or bool(training.item())
    return node.op in DRAWING


def anchored(graph: Graph) -> Graph:
    """The graph whose random operators read its first input too, after their own.

    Of shapes and constants alone they would be computed at import, once for all runs.
    """
    if not graph.inputs:
        return graph
    anchor = graph.inputs[0]
    nodes = tuple(
        replace(node, inputs=(*node.inputs, anchor)) if not node.domain and node.op in DRAWING else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def without_draws(graph: Graph) -> Graph | None:
    """The graph with the middle of each distribution in place of its draws; None where nothing draws."""
    if not any(draws(node, graph) for node in graph.nodes):
        return None
    nodes = tuple(
        replace(node, attributes={**node.attributes, STILL: 1}) if draws(node, graph) else node for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
