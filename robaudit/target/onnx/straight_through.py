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
from robaudit.target.onnx import surroundings
from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.saturation import replaced

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
JOINED = "joined"
"""Attribute of a step that is part of a formula with a slope (see surroundings.py): it cuts nothing."""


def through(value: Tensor, path: Tensor, rule: str, low: float | None = None, high: float | None = None) -> Tensor:
    """``value`` going forward, the gradient of ``path`` going back, as the rule says.

    A program records it as one call, see saturation.py.

    Args:
        value: without gradient.
        path: of the same shape.
        rule: EXACT adds nothing; STRAIGHT and CLIPPED follow the path.
        low: for CLIPPED, the least value of ``path`` that has a gradient.
        high: the largest.
    """
    if rule == EXACT or is_known(path):
        return value
    return replaced(value, path, *bounds(path, rule, low, high))


def bounds(path: Tensor, rule: str, low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """Between which values a path has a gradient. Bounded in any case: infinity minus infinity is not zero."""
    largest = torch.finfo(path.dtype).max
    if rule != CLIPPED:
        low = high = None
    return -largest if low is None else low, largest if high is None else high


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
    floats = surroundings.carried_as_floats(graph)
    scores = surroundings.scores(graph)
    whole = surroundings.parts_of_a_slope(graph)
    nodes = []
    for node in graph.nodes:
        known = find(node.domain, node.op)
        rules = known.backward if known is not None else ()
        label = label_of(node)
        key = node.name if node.name in wanted else label
        if key in wanted:
            unused.discard(key)
            if wanted[key] not in rules:
                choice = f"choose {' or '.join(rules)}" if rules else "it has none to choose from"
                raise UsageError(f"operator {label} (node {node.name}) has no backward rule {wanted[key]!r}: {choice}")
        if rules:
            rule = rules[0]
            if rules == QUANTISER and scores.intersection(node.outputs):
                # Where the highest score saturates, the gradient of the others alone would point anywhere.
                rule = STRAIGHT
            if whole.intersection(node.outputs):
                rule = EXACT
            rule = wanted.get(key, rule)
            if surroundings.to_integer(node) and not floats.issuperset(node.outputs):
                rule = EXACT
            joined = rule == EXACT and bool(whole.intersection(node.outputs))
            node = replace(node, attributes={**node.attributes, ATTRIBUTE: rule, JOINED: int(joined)})
        if node.graphs:
            node = node.with_graphs({name: _resolved(g, wanted, unused) for name, g in node.graphs.items()})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
