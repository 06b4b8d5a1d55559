"""A quantised graph in floating point: the network that it was made of, as far as the file tells.

Scales of activations belong to the weights that the file holds, and mean nothing for others. What stays is the shape of
the function: a quantiser that can hold no negative number stands for the rectifier that was merged into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import along
from robaudit.target.onnx.element_types import BITS, limits
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.quantisation import _type_of

__all__ = ["dequantised"]

_OPSET = 17
"""Of the plain operators that nodes are rewritten to."""
_MICROSOFT = "com.microsoft"


def dequantised(graph: Graph) -> Graph:
    """The graph without quantisers, and with operators on quantised numbers as the plain ones of float numbers."""
    work = _Work(dict(graph.constants))
    for node in graph.nodes:
        node = replace(node, inputs=tuple(work.same.get(name, name) for name in node.inputs))
        rewrite = _REWRITES.get(node.op) if node.domain in ("", _MICROSOFT) else None
        if rewrite is None or not rewrite(work, node):
            work.nodes.append(node)
    nodes = tuple(work.nodes)
    outputs = tuple(work.same.get(name, name) for name in graph.outputs)
    renamed = [
        Node("Identity", "", _OPSET, old, (new,), (old,))
        for old, new in zip(graph.outputs, outputs, strict=True)
        if old != new
    ]
    return graph.with_nodes((*nodes, *renamed), work.constants)


@dataclass
class _Work:
    constants: dict[str, Tensor]
    nodes: list[Node] = field(default_factory=list)
    same: dict[str, str] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)

    def constant(self, node: Node, position: int) -> Tensor | None:
        return self.constants.get(node.inputs[position]) if position < len(node.inputs) else None

    def put(self, node: Node, op: str, inputs: tuple[str, ...], zero: Tensor | None) -> None:
        """A plain operator, and the rectifier that quantising its result stands for."""
        result = node.outputs[0]
        if zero is not None and _one_sided(node, zero):
            made = f"{result}/before"
            self.nodes.append(replace(node, op=op, domain="", version=_OPSET, inputs=inputs, outputs=(made,)))
            self.nodes.append(Node("Relu", "", _OPSET, f"{node.name}/rectified", (made,), (result,)))
        else:
            self.nodes.append(replace(node, op=op, domain="", version=_OPSET, inputs=inputs))

    def number(self, node: Node, place: int, axis: int = 0) -> str | None:
        """The input at a place, followed by its scale and zero point, in floats; None where that is not known."""
        name = node.inputs[place]
        value = self.constants.get(name)
        if value is None:
            return name
        scale, zero = self.constant(node, place + 1), self.constant(node, place + 2)
        if scale is None:
            return None
        whole = value.to(scale.dtype)
        if zero is not None:
            whole = whole - along(zero.to(scale.dtype), value.dim(), axis)
        return self.add(f"{name}/in floats", whole * along(scale, value.dim(), axis))

    def add(self, name: str, value: Tensor) -> str:
        while name in self.constants:
            name += "_"
        self.constants[name] = value
        return name


def _one_sided(node: Node, zero: Tensor | None) -> bool:
    """Whether no negative number can be told."""
    code = _type_of(node, zero)
    return code in BITS and zero is not None and bool((zero == limits(code)[0]).all())


def _quantise(work: _Work, node: Node) -> bool:
    if node.inputs[0] in work.constants:
        return False
    zero = work.constant(node, 2)
    if zero is not None and not zero.dtype.is_floating_point and _one_sided(node, zero):
        work.nodes.append(Node("Relu", "", _OPSET, f"{node.name}/rectified", node.inputs[:1], node.outputs[:1]))
    else:
        work.same[node.outputs[0]] = node.inputs[0]
    return True


def _dequantise(work: _Work, node: Node) -> bool:
    if node.inputs[0] in work.constants:
        return False
    work.same[node.outputs[0]] = node.inputs[0]
    return True


def _convolution(work: _Work, node: Node) -> bool:
    """QLinearConv(x, its scale and zero, weight, its scale and zero, result's scale and zero, bias)."""
    weight, scale, own = work.number(node, 3), work.constant(node, 1), work.constant(node, 4)
    if weight is None or scale is None or own is None:
        return False
    inputs = [node.inputs[0], weight]
    bias = work.constant(node, 8)
    if bias is not None:
        inputs.append(work.add(f"{node.name}/bias", bias.to(scale.dtype) * scale * own))
    work.put(node, "Conv", tuple(inputs), work.constant(node, 7))
    return True


def _product(work: _Work, node: Node) -> bool:
    first, second = work.number(node, 0, -2), work.number(node, 3, -1)
    if first is None or second is None:
        return False
    work.put(node, "MatMul", (first, second), work.constant(node, 7))
    return True


def _gemm(work: _Work, node: Node) -> bool:
    """QGemm(A, scale, zero, B, scale, zero, C, result's scale and zero)."""
    transposed = node.integer("transB", 0)
    first, second = work.number(node, 0), work.number(node, 3, 0 if transposed else 1)
    scale, own = work.constant(node, 1), work.constant(node, 4)
    if first is None or second is None or scale is None or own is None:
        return False
    inputs = [first, second]
    bias = work.constant(node, 6)
    if bias is not None:
        inputs.append(work.add(f"{node.name}/bias", bias.to(scale.dtype) * scale * own))
    work.put(node, "Gemm", tuple(inputs), work.constant(node, 8))
    return True


def _dynamic(work: _Work, node: Node) -> bool:
    """DynamicQuantizeLinear(x): its whole numbers, their scale and zero point."""
    work.same[node.outputs[0]] = node.inputs[0]
    for name, value in zip(node.outputs[1:], (1.0, 0.0), strict=True):
        work.constants[name] = torch.tensor(value)
    work.units.add(node.outputs[1])
    return True


def _scale(work: _Work, node: Node) -> bool:
    """A scale of the input times one of the weights, both of which go with their whole numbers."""
    if not work.units.intersection(node.inputs) or not all(name in work.constants for name in node.inputs):
        return False
    work.constants[node.outputs[0]] = torch.tensor(1.0)
    work.units.add(node.outputs[0])
    return True


def _of_integers(op: str, axis: int) -> Rewrite:
    """MatMulInteger and ConvInteger(x, weight, zero points of both)."""

    def rewrite(work: _Work, node: Node) -> bool:
        weight, zero = work.constant(node, 1), work.constant(node, 3)
        if weight is None or node.inputs[0] in work.constants:
            return False
        whole = weight.float() if zero is None else weight.float() - along(zero.float(), weight.dim(), axis)
        work.put(node, op, (node.inputs[0], work.add(f"{node.inputs[1]}/in floats", whole)), None)
        return True

    return rewrite


def _of_two(op: str) -> Rewrite:
    def rewrite(work: _Work, node: Node) -> bool:
        first, second = work.number(node, 0), work.number(node, 3)
        if first is None or second is None:
            return False
        work.put(node, op, (first, second), work.constant(node, 7))
        return True

    return rewrite


def _of_one(op: str) -> Rewrite:
    def rewrite(work: _Work, node: Node) -> bool:
        if node.integer("channels_last", 0):
            return False
        work.put(node, op, node.inputs[:1], work.constant(node, 4))
        return True

    return rewrite


def _concat(work: _Work, node: Node) -> bool:
    parts = [work.number(node, place) for place in range(2, len(node.inputs), 3)]
    if None in parts:
        return False
    work.put(node, "Concat", tuple(part for part in parts if part is not None), work.constant(node, 1))
    return True


Rewrite = Callable[[_Work, Node], bool]
"""Puts plain operators in a node's place, and says whether it did."""

_REWRITES: dict[str, Rewrite] = {
    "QuantizeLinear": _quantise,
    "DequantizeLinear": _dequantise,
    "QLinearConv": _convolution,
    "QLinearMatMul": _product,
    "QGemm": _gemm,
    "DynamicQuantizeLinear": _dynamic,
    "Mul": _scale,
    "MatMulInteger": _of_integers("MatMul", -1),
    "ConvInteger": _of_integers("Conv", 0),
    "QLinearAdd": _of_two("Add"),
    "QLinearMul": _of_two("Mul"),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _of_one("GlobalAveragePool"),
    "QLinearAveragePool": _of_one("AveragePool"),
    "QLinearLeakyRelu": _of_one("LeakyRelu"),
    "QLinearSigmoid": _of_one("Sigmoid"),
}
