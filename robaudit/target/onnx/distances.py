"""Distances between two sets of points, which scikit-learn's converter spells out as a Scan over one of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import axes_of, is_known
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import Value


def powered_distances(node: Node, state: Value, points: Value, outer: Mapping[str, Value]) -> Tensor | None:
    """What a Scan collects whose body sums ``|state - point|^p`` over axis 1, [points, rows of the state].

    None when the body does something else. ``outer``: the values that the body reads from outside.
    """
    plain = all(
        not any(node.integers(f"scan_{what}") or [])
        for what in ("input_axes", "input_directions", "output_axes", "output_directions")
    )
    power = _power(node.graph("body"), outer) if plain else None
    if power is None or state.dim() != 2 or points.dim() != 2 or not state.is_floating_point():
        return None
    # Differences, not products, which cancel where the data is far from the origin.
    distance = torch.cdist(points, state, p=power, compute_mode="donot_use_mm_for_euclid_dist")
    return distance if power == 1.0 else torch.pow(distance, power)


def _power(body: Graph, outer: Mapping[str, Value]) -> float | None:
    if len(body.inputs) != 2 or len(body.outputs) != 2:
        return None
    makers = {name: node for node in body.nodes for name in node.outputs if not node.domain}

    def maker(name: str) -> Node | None:
        return makers.get(named(name))

    def named(name: str) -> str:
        while name in makers and makers[name].op == "Identity":
            name = makers[name].inputs[0]
        return name

    total = maker(body.outputs[1])
    if named(body.outputs[0]) != body.inputs[0] or total is None or not _sums_rows(total, outer):
        return None
    power = 2.0
    below = maker(total.inputs[0])
    if total.op == "ReduceSum":
        power = 1.0
        if below is not None and below.op == "Pow":
            exponent = outer.get(named(below.inputs[1]))
            if exponent is None or not is_known(exponent) or exponent.numel() != 1:
                return None
            power, below = float(exponent.item()), maker(below.inputs[0])
        if below is None or below.op != "Abs":
            return None
        below = maker(below.inputs[0])
    if below is None or below.op != "Sub" or power <= 0:
        return None
    return power if {named(name) for name in below.inputs} == set(body.inputs) else None


def _sums_rows(node: Node, outer: Mapping[str, Value]) -> bool:
    if node.op not in ("ReduceSum", "ReduceSumSquare") or node.integer("keepdims", 1):
        return False
    given = outer.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return (given is None or is_known(given)) and axes_of(node, given) == [1]
