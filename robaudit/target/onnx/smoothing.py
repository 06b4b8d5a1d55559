"""A smooth backward for operators that hide the gradient behind them; their values stay what they are.

A ReLU that is off, a clip that is past its end, a maximum and a comparison tell nothing of what a larger step would do.
On the way back each is replaced by a smooth function of the same shape, whose width is a share of how much the
operator's input varies over the features of that very sample. It is BPDA (Athalye, Carlini, Wagner 2018, "Obfuscated
Gradients Give a False Sense of Security", section 4.1) with a stand-in for each operator. Xie, Tan, Gong, Yuille, Le
2020, "Smooth Adversarial Training", smooth activations in training; here the model is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.choices import CHOOSERS, READERS, chosen_softly, read_softly
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import SMOOTH, Value
from robaudit.target.onnx.straight_through import STRAIGHT, through
from robaudit.target.running.smooth import WIDTH

__all__ = ["POOLED", "smoothable", "smoothed", "smoothly"]

POOLED = 0.2
"""What a maximum's gradient gives to all values of its window alike."""
_SOFT = "robaudit_soft"
"""Attribute of a truth value on its way through a program: the float in [0, 1] whose gradient it has."""


def smoothable(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The nodes that have a smooth stand-in, by operator: their names in the file."""
    found: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        if _hides(node):
            found[node.op] = (*found.get(node.op, ()), node.name)
    return found


def smoothed(graph: Graph, width: float = WIDTH, only: Container[str] | None = None) -> Graph | None:
    """The graph whose operators have a smooth backward; None where none of them has one.

    Args:
        graph: as resolved.
        width: of what replaces them.
        only: names of the nodes that are replaced; None: all.
    """
    some = False
    nodes = []
    for node in graph.nodes:
        hides = _hides(node)
        stays = hides and only is not None and node.name not in only
        if not stays and not node.domain and (node.op in _RULES or node.op in CHOOSERS or node.op in READERS):
            some = some or hides
            node = replace(node, attributes={**node.attributes, SMOOTH: width})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)) if some else None


def _hides(node: Node) -> bool:
    return not node.domain and (node.op in _HIDING or node.op in CHOOSERS)


def smoothly(node: Node, inputs: list[Value], results: tuple[Value, ...]) -> tuple[Value, ...]:
    """The results of a node, the first with the gradient of its smooth stand-in where it is to have one."""
    width = float(node.attributes.get(SMOOTH, 0.0))
    first = results[0]
    if not width or not isinstance(first, Tensor):
        return results
    if node.op in CHOOSERS:
        chosen_softly(node, inputs[0], results, lambda x: _scale(x, width))
        return results
    path = _RULES[node.op](node, inputs, width) if node.op in _RULES else None
    if path is None and node.op in READERS:
        path = read_softly(node, inputs, first)
    if path is None or path.shape != first.shape:
        return results
    if not first.dtype.is_floating_point:  # a truth value, or a mark: what it becomes as a number has the gradient
        setattr(first, _SOFT, path)
        return results
    return through(first.detach(), path.to(first.dtype), STRAIGHT), *results[1:]


def _scale(x: Tensor, width: float) -> Tensor:
    """A positive width for each sample, of tensors [N, ...]: a share of the deviation over its features."""
    still = x.detach()
    features = list(range(1, still.dim()))
    spread = torch.std(still, features, keepdim=True, correction=0) if features else still.abs()
    return torch.clamp_min(spread.nan_to_num(0.0, 0.0, 0.0) * width, 1e-12)


def _float(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def _ramp(x: Tensor, s: Tensor) -> Tensor:
    """A smooth max(x, 0), whose derivative rises from 0 to 1 over a few s."""
    return F.softplus(x / s) * s


def _relu(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    x = _float(inputs[0])
    if x is None:
        return None
    alpha = {"LeakyRelu": node.number("alpha", 0.01)}.get(node.op, 0.0)
    ramp = _ramp(x, _scale(x, width))
    return alpha * x + (1 - alpha) * ramp if alpha else ramp


def _clip(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    x = _float(inputs[0])
    if x is None:
        return None
    low: Any
    high: Any
    if node.op == "HardSigmoid":
        x, low, high = x * node.number("alpha", 0.2) + node.number("beta", 0.5), 0.0, 1.0
    elif node.version < 11:
        low, high = node.attributes.get("min"), node.attributes.get("max")
    else:
        low, high = [*inputs[1:], None, None][:2]
    s = _scale(x, width)
    if low is None and high is None:
        return None
    if low is None:
        return -_ramp(high - x, s)
    return _ramp(x - low, s) if high is None else _ramp(x - low, s) - _ramp(x - high, s)


def _abs(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    x = _float(inputs[0])
    return None if x is None else 2 * _ramp(x, _scale(x, width)) - x


def _sign(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    x = _float(inputs[0])
    return None if x is None else torch.tanh(x / _scale(x, width))


def _extreme(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    """The larger, or smaller, of two."""
    if len(inputs) != 2:
        return None
    a, b = _float(inputs[0]), _float(inputs[1])
    if a is None or b is None:
        return None
    gap = a - b if node.op == "Max" else b - a
    ramp = _ramp(gap, _scale(gap, width))
    return b + ramp if node.op == "Max" else b - ramp


def _compare(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    a, b = _float(inputs[0]), _float(inputs[1])
    if a is None or b is None:
        return None
    gap = a - b if node.op.startswith("Greater") else b - a
    return torch.sigmoid(gap / _scale(gap, width))


def _logic(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    softs = [getattr(value, _SOFT, None) for value in inputs]
    if node.op == "Not":
        return None if softs[0] is None else 1 - softs[0]
    if all(soft is None for soft in softs):
        return None
    a, b = (soft if soft is not None else value.float() for soft, value in zip(softs, inputs, strict=True))
    found: Tensor = a * b if node.op == "And" else a + b - a * b
    return found


def _passed(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    """What a truth value becomes as a number, or the same."""
    soft: Tensor | None = getattr(inputs[0], _SOFT, None)
    return soft


def _where(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    soft, a, b = getattr(inputs[0], _SOFT, None), _float(inputs[1]), _float(inputs[2])
    if soft is None or a is None or b is None:
        return None
    found: Tensor = soft * a + (1 - soft) * b
    return found


def _max_pool(node: Node, inputs: list[Value], width: float) -> Tensor | None:
    x = _float(inputs[0])
    if x is None:
        return None
    if node.op == "GlobalMaxPool":
        places = list(range(2, x.dim()))
        return (1 - POOLED) * torch.amax(x, places, keepdim=True) + POOLED * torch.mean(x, places, keepdim=True)
    kernel = node.integers("kernel_shape") or []
    pads, strides = node.integers("pads") or [0] * 2 * len(kernel), node.integers("strides") or [1] * len(kernel)
    plain = not node.integer("ceil_mode", 0) and node.text("auto_pad", "NOTSET") == "NOTSET"
    dilated = any(step != 1 for step in node.integers("dilations") or [])
    rank = len(kernel)
    even = pads[:rank] == pads[rank:] and all(2 * pad <= size for pad, size in zip(pads[:rank], kernel, strict=True))
    if rank not in _POOLS or not plain or dilated or not even:
        return None
    highest, average = _POOLS[rank]
    return (1 - POOLED) * highest(x, kernel, strides, pads[:rank]) + POOLED * average(
        x, kernel, strides, pads[:rank], False, False
    )


_POOLS: dict[int, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    1: (torch.max_pool1d, F.avg_pool1d),
    2: (torch.max_pool2d, F.avg_pool2d),
    3: (torch.max_pool3d, F.avg_pool3d),
}
_Rule = Callable[[Node, list[Value], float], Tensor | None]
_HIDING: Mapping[str, _Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu"), _relu),
    **dict.fromkeys(("Clip", "HardSigmoid"), _clip),
    **dict.fromkeys(("Max", "Min"), _extreme),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _compare),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), _max_pool),
    "Abs": _abs,
    "Sign": _sign,
}
_RULES: Mapping[str, _Rule] = {
    **_HIDING,
    **dict.fromkeys(("Not", "And", "Or"), _logic),
    **dict.fromkeys(("Cast", "Identity"), _passed),
    "Where": _where,
}
