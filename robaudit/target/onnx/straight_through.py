"""What stands for the derivative of a step: rounding, quantising, converting to an integer.

Such an operator's derivative is zero wherever it exists, and the gradient would end there. On the way back it
is replaced by that of a smooth stand-in (Bengio et al. 2013, arXiv:1308.3432; as an attack, BPDA, Athalye et al.
2018, arXiv:1802.00420); values are never touched. Every operator that can be replaced lists its rules in the
registry, and every node of an imported graph names the one it follows in its attribute ``backward``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.errors import UsageError
from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.element_types import BITS
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import find

EXACT = "exact"
"""The true derivative, zero: the gradient ends."""
STRAIGHT = "straight-through"
"""That of the identity."""
CLIPPED = "clipped"
"""That of the identity where the result is within its range, else zero."""
SOFTMAX = "softmax"
"""That of softmax."""

QUANTISER = (CLIPPED, STRAIGHT, EXACT)
STEP = (STRAIGHT, EXACT)
BOUNDED_STEP = (STRAIGHT, CLIPPED, EXACT)

ATTRIBUTE = "backward"
LABEL = "label"
"""Attribute of a node that stands for several: the operator whose derivative is replaced."""


def through(value: Tensor, path: Tensor, rule: str, low: float | None = None, high: float | None = None) -> Tensor:
    """``value`` going forward, the gradient of ``path`` going back, as the rule says.

    Made of ordinary operations, so that tracing, vmap and compilers keep the gradient (a custom autograd function
    is lost in some of them). What is added to the value is zero exactly.

    Args:
        value: without gradient.
        path: of the same shape.
        rule: EXACT adds nothing; STRAIGHT and CLIPPED follow the path.
        low: for CLIPPED, the least value of ``path`` that has a gradient.
        high: the largest.
    """
    if rule == EXACT or is_known(path):
        return value
    if rule != CLIPPED:
        low = high = None
    # Bounded in any case: infinity minus infinity is not zero.
    largest = torch.finfo(path.dtype).max
    path = torch.clamp(path, -largest if low is None else low, largest if high is None else high)
    return value + (path - path.detach()).to(value.dtype)


def rule_of(node: Node) -> str:
    """The rule that a node follows; EXACT where there is no choice."""
    chosen = node.attributes.get(ATTRIBUTE)
    if chosen is not None:
        return str(chosen)
    known = find(node.domain, node.op)
    return known.backward[0] if known is not None and known.backward else EXACT


def label_of(node: Node) -> str:
    """``Op``, with its domain unless that is the default one; the name that the file knows."""
    return node.text(LABEL, f"{node.domain}::{node.op}" if node.domain else node.op)


def resolved(graph: Graph, backward: Mapping[str, str] | None = None) -> Graph:
    """The graph with every node's rule written into it.

    Args:
        graph: as prepared.
        backward: rule by operator (``Round``, ``com.microsoft::QLinearAdd``) or, before that, by node name.

    Raises:
        UsageError: an operator has no such rule, or nothing is called so.
    """
    wanted = dict(backward or {})
    unused = set(wanted)
    result = _resolved(graph, wanted, unused)
    if unused:
        raise UsageError(f"backward rules for {', '.join(sorted(unused))}: the graph has no such operator or node")
    return result


def _resolved(graph: Graph, wanted: Mapping[str, str], unused: set[str]) -> Graph:
    floats = _carried_as_floats(graph)
    scores = _of_scores(graph)
    nodes = []
    for node in graph.nodes:
        known = find(node.domain, node.op)
        rules = known.backward if known is not None else ()
        label = label_of(node)
        key = node.name if node.name in wanted else label
        if key in wanted and (rules or key == node.name):
            unused.discard(key)
            if wanted[key] not in rules:
                choice = f"choose {' or '.join(rules)}" if rules else "it has none to choose from"
                raise UsageError(f"operator {label} (node {node.name}) has no backward rule {wanted[key]!r}: {choice}")
        if rules:
            rule = wanted.get(key, STRAIGHT if rules is QUANTISER and scores.intersection(node.outputs) else rules[0])
            if _to_integer(node) and not floats.issuperset(node.outputs):
                rule = EXACT
            node = replace(node, attributes={**node.attributes, ATTRIBUTE: rule})
        if node.graphs:
            node = node.with_graphs({name: _resolved(g, wanted, unused) for name, g in node.graphs.items()})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


# What keeps every score what it is, or a score.
_KEEPS = frozenset(
    {"DequantizeLinear", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Softmax", "LogSoftmax"}
)


def _of_scores(graph: Graph) -> set[str]:
    """The outputs, and what they are but for their form.

    A quantiser of scores is straight-through by default: where the highest score saturates, the gradient of the
    others alone would point anywhere.
    """
    names = set(graph.outputs)
    for node in reversed(graph.nodes):
        if names.intersection(node.outputs) and node.op in _KEEPS:
            names.update(node.inputs[:1])
    return names


def _to_integer(node: Node) -> bool:
    return not node.domain and node.op in ("Cast", "CastLike") and node.integer("to", 0) in BITS


# What an integer may meet before it is a float again, for a float to stand in for it: operators that move or
# choose values (by their first inputs: the others say how), and those that take either.
_MOVES = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Expand", "Tile"),
        *("Pad", "Gather", "DepthToSpace", "SpaceToDepth", "MaxPool", "ReduceMax", "ReduceMin", "Clip", "Dropout"),
    }
)
_MERGES = frozenset({"Concat", "Max", "Min"})
# Integers of 8 and 16 bits wrap around here.
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Relu", "Sum", "ReduceSum"})
_ENDS: dict[str, tuple[int, ...]] = {
    "Cast": (0,),
    "CastLike": (0, 1),
    "DequantizeLinear": (0, 2),
    "QuantizeLinear": (0, 2),
    "MatMulInteger": (0, 1, 2, 3),
    "ConvInteger": (0, 1, 2, 3),
    "QLinearConv": (0, 2, 3, 5, 7),
    "QLinearMatMul": (0, 2, 3, 5, 7),
    "Equal": (0, 1),
    "Greater": (0, 1),
    "GreaterOrEqual": (0, 1),
    "Less": (0, 1),
    "LessOrEqual": (0, 1),
    "Shape": (0,),
    "Size": (0,),
    "ArgMax": (0,),
    "ArgMin": (0,),
}


def _carried_as_floats(graph: Graph) -> set[str]:
    """The values that may be floats where the file has integers: nothing that reads them needs true ones."""
    wide: dict[str, bool] = {}
    for node in graph.nodes:
        own = BITS[node.integer("to", 0)][0] >= 32 if _to_integer(node) else None
        for name in node.outputs:
            wide[name] = own if own is not None else all(wide.get(i, True) for i in node.inputs)
    unsafe: set[str] = set()
    for node in reversed(graph.nodes):
        fine = not unsafe.intersection(node.outputs)
        for position, name in enumerate(node.inputs):
            if position in _ENDS.get(node.op, ()) and not node.domain:
                continue
            passes = (node.op in _MOVES and (position == 0 or node.op == "Clip")) or node.op in _MERGES
            passes = (
                passes or (node.op == "Where" and position > 0) or (node.op in _ARITHMETIC and wide.get(name, True))
            )
            if node.domain or not passes or not fine:
                unsafe.add(name)
    return {name for node in graph.nodes for name in node.outputs} - unsafe


def _passes(op: str, position: int, wide: bool) -> bool:
    """Whether what an operator makes of this input may be a float if the input is one."""
    if op in _MOVES:
        return position == 0 or op == "Clip"
    if op == "Where":
        return position > 0
    return op in _MERGES or (op in _ARITHMETIC and wide)
