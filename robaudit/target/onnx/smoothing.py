"""A smooth backward for operators that hide the gradient behind them; their values stay what they are.

What stands for each on the way back: :mod:`robaudit.target.running.standins`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.choices import CHOOSERS, READERS, chosen_softly, read_softly
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import SMOOTH, Value
from robaudit.target.running import standins
from robaudit.target.running.smooth import Smooth

__all__ = ["smoothable", "smoothed", "smoothly"]

_SOFT = "robaudit_soft"
"""Attribute of a truth value on its way through a program: the float in [0, 1] whose gradient it has."""


def smoothable(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The nodes that have a smooth stand-in, by operator: their names in the file."""
    found: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        if _hides(node):
            found[node.op] = (*found.get(node.op, ()), node.name)
    return found


def smoothed(graph: Graph, smooth: Smooth | None = None) -> Graph | None:
    """The graph whose operators have a smooth backward; None where none of them has one."""
    smooth = smooth or Smooth()
    some = False
    nodes = []
    for node in graph.nodes:
        hides = _hides(node)
        stays = hides and smooth.nodes is not None and node.name not in smooth.nodes
        if not stays and not node.domain and (node.op in _RULES or node.op in CHOOSERS or node.op in READERS):
            some = some or hides
            node = replace(node, attributes={**node.attributes, SMOOTH: smooth})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)) if some else None


def _hides(node: Node) -> bool:
    return not node.domain and (node.op in _HIDING or node.op in CHOOSERS)


def smoothly(node: Node, inputs: list[Value], results: tuple[Value, ...]) -> tuple[Value, ...]:
    """The results of a node, the first with the gradient of its smooth stand-in where it is to have one."""
    smooth, first = node.attributes.get(SMOOTH), results[0]
    if not isinstance(smooth, Smooth) or not isinstance(first, Tensor):
        return results
    if node.op in CHOOSERS:
        chosen_softly(node, inputs[0], results, lambda x: standins.spread(x, smooth.width))
        return results
    if first.dtype.is_floating_point and node.op in _VALUES:
        found = _VALUES[node.op](node, inputs, first, smooth)
        return results if found is None else (found, *results[1:])
    path = _TRUTHS[node.op](node, inputs, smooth) if node.op in _TRUTHS else None
    if path is None and node.op in READERS:
        path = read_softly(node, inputs, first)
    if path is None or path.shape != first.shape:
        return results
    if not first.dtype.is_floating_point:  # a truth value, or a mark: what it becomes as a number has the gradient
        setattr(first, _SOFT, path)
        return results
    return standins.carried(first, path), *results[1:]


def _float(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def _end(value: Any) -> Any:
    """A bound as a number where it is one that is known."""
    return value.item() if isinstance(value, Tensor) and is_known(value) and value.numel() == 1 else value


def _relu(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
    x = _float(inputs[0])
    below = node.number("alpha", 0.01) if node.op == "LeakyRelu" else 0.0
    return None if x is None else standins.ramp(value, x, smooth.width, below)


def _clip(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
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
        low, high = map(_end, [*inputs[1:], None, None][:2])
    return None if low is None and high is None else standins.clipped(value, x, low, high, smooth.width)


def _alone(stand: Callable[[Tensor, Tensor, float], Tensor]) -> _Rule:
    def rule(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
        x = _float(inputs[0])
        return None if x is None else stand(value, x, smooth.width)

    return rule


def _extreme(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
    """The larger, or smaller, of two."""
    if len(inputs) != 2:
        return None
    a, b = _float(inputs[0]), _float(inputs[1])
    return None if a is None or b is None else standins.extreme(value, a, b, smooth.width, node.op == "Max")


def _where(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
    soft, a, b = getattr(inputs[0], _SOFT, None), _float(inputs[1]), _float(inputs[2])
    return None if soft is None or a is None or b is None else standins.choice(value, soft, a, b)


def _max_pool(node: Node, inputs: list[Value], value: Tensor, smooth: Smooth) -> Tensor | None:
    x = _float(inputs[0])
    if x is None or not smooth.pool:
        return None
    if node.op == "GlobalMaxPool":
        return standins.pooled_to(value, x, smooth.pool, x.dim() - 2)
    kernel = node.integers("kernel_shape") or []
    pads, strides = node.integers("pads") or [0] * 2 * len(kernel), node.integers("strides") or [1] * len(kernel)
    plain = not node.integer("ceil_mode", 0) and node.text("auto_pad", "NOTSET") == "NOTSET"
    dilated = any(step != 1 for step in node.integers("dilations") or [])
    rank = len(kernel)
    even = pads[:rank] == pads[rank:] and all(2 * pad <= size for pad, size in zip(pads[:rank], kernel, strict=True))
    if not 1 <= rank <= 3 or not plain or dilated or not even:
        return None
    return standins.pooled(value, x, smooth.pool, kernel, strides, pads[:rank], False)


def _compare(node: Node, inputs: list[Value], smooth: Smooth) -> Tensor | None:
    a, b = _float(inputs[0]), _float(inputs[1])
    if a is None or b is None:
        return None
    if not node.op.startswith("Greater"):
        a, b = b, a
    return standins.exceeds(a, b, smooth.width)


def _logic(node: Node, inputs: list[Value], smooth: Smooth) -> Tensor | None:
    softs = [getattr(value, _SOFT, None) for value in inputs]
    if node.op == "Not":
        return None if softs[0] is None else 1 - softs[0]
    if all(soft is None for soft in softs):
        return None
    a, b = (soft if soft is not None else value.float() for soft, value in zip(softs, inputs, strict=True))
    found: Tensor = a * b if node.op == "And" else a + b - a * b
    return found


def _passed(node: Node, inputs: list[Value], smooth: Smooth) -> Tensor | None:
    """What a truth value becomes as a number, or the same."""
    soft: Tensor | None = getattr(inputs[0], _SOFT, None)
    return soft


_Rule = Callable[[Node, list[Value], Tensor, Smooth], Tensor | None]
_Truth = Callable[[Node, list[Value], Smooth], Tensor | None]
_VALUES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu"), _relu),
    **dict.fromkeys(("Clip", "HardSigmoid"), _clip),
    **dict.fromkeys(("Max", "Min"), _extreme),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), _max_pool),
    "Abs": _alone(standins.absolute),
    "Sign": _alone(standins.sign),
    "HardSwish": _alone(standins.hard_swish),
    "Where": _where,
}
"""Operators whose result has another gradient."""
_TRUTHS: Mapping[str, _Truth] = {
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _compare),
    **dict.fromkeys(("Not", "And", "Or"), _logic),
    **dict.fromkeys(("Cast", "Identity"), _passed),
}
"""Operators that make truth values, and what becomes of them."""
_RULES = _VALUES.keys() | _TRUTHS.keys()
_HIDING = _RULES - {"Not", "And", "Or", "Cast", "Identity", "Where"}
