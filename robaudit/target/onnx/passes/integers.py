"""Operators between DequantizeLinear and QuantizeLinear, brought to whole numbers.

ONNX Runtime runs such groups of 8-bit values on integers. Their sums are exact, while those of floats depend on the
order of addition, and a last bit decides what is rounded up: after some layers of it, scores differ by several steps
of the quantiser. Here the same groups become the same operators, so that the twin rounds what the runtime rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx
import torch

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.passes.requantised import drop_repeated
from robaudit.target.onnx.passes.workspace import Workspace, apply, is_default
from robaudit.target.onnx.straight_through import LABEL

_BYTES = (torch.uint8, torch.int8)
_LOWEST = {int(onnx.TensorProto.UINT8): 0, int(onnx.TensorProto.INT8): -128}
_HIGHEST = {int(onnx.TensorProto.UINT8): 255, int(onnx.TensorProto.INT8): 127}
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Quantised:
    """A value as its name, and those of its scale and zero point."""

    value: str
    scale: str
    zero: str
    axis: int


def use_integers(graph: Graph) -> Graph:
    """Every group that ends in a QuantizeLinear to 8 bits becomes one operator.

    To be done before constants are folded: of a folded DequantizeLinear no integers are left.
    """
    graph = apply(drop_repeated(graph), _group)
    nodes = tuple(
        node.with_graphs({name: use_integers(inner) for name, inner in node.graphs.items()}) if node.graphs else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _group(work: Workspace, node: Node) -> Node | None:
    code = node.integer("output_dtype", int(onnx.TensorProto.UINT8))
    if not is_default(node, "QuantizeLinear") or code not in _LOWEST or node.integer("block_size", 0):
        return None
    scale = work.constant(node, 1)
    if scale is None or scale.numel() != 1 or scale.dtype != torch.float32:
        return None
    zero = work.constant(node, 2)
    if zero is None:
        if len(node.inputs) > 2 and node.inputs[2]:
            return None
        zero = torch.zeros((), dtype=torch.uint8)
    shift = int(zero)
    low, high = (float((limit - shift) * scale) for limit in (_LOWEST[code], _HIGHEST[code]))
    inner = work.sole_producer(node.inputs[0])
    while inner is not None and _is_saturation(work, inner, low, high):
        inner = work.sole_producer(inner.inputs[0])
    maker = _MAKERS.get(inner.op) if inner is not None and not inner.domain else None
    if inner is None or maker is None:
        return None
    result = _Quantised("", node.inputs[1], work.add(f"{node.name}.zero", zero.reshape(())), 0)
    made = maker(work, inner, result)
    if made is None:
        return None
    attributes = {**made.attributes, "output_dtype": code, LABEL: node.op}
    return replace(made, name=node.name, outputs=node.outputs, attributes=attributes)


def _is_saturation(work: Workspace, node: Node, low: float, high: float) -> bool:
    """Whether an operator only cuts off what the quantiser with this range cuts off as well."""
    if is_default(node, "Relu"):
        return low >= 0.0
    if not is_default(node, "Clip"):
        return False
    if node.version < 11:
        least, most = node.attributes.get("min"), node.attributes.get("max")
    else:
        if any(name and name not in work.constants for name in node.inputs[1:]):
            return False
        bounds = [work.constant(node, 1), work.constant(node, 2)]
        least, most = (None if bound is None else float(bound) for bound in bounds)
    return (least is None or least <= low) and (most is None or most >= high)


def _quantised(
    work: Workspace, node: Node, position: int, dtypes: tuple[torch.dtype, ...] = _BYTES
) -> _Quantised | None:
    """Where an input comes from, if that is a DequantizeLinear from such a type by constants."""
    source = work.producer.get(node.inputs[position]) if position < len(node.inputs) else None
    if source is None or not is_default(source, "DequantizeLinear") or source.integer("block_size", 0):
        return None
    scale, zero = work.constant(source, 1), work.constant(source, 2)
    if scale is None or scale.dtype != torch.float32:
        return None
    if zero is None:
        if len(source.inputs) > 2 and source.inputs[2]:
            return None
        held = work.constants.get(source.inputs[0])
        zero = torch.zeros(scale.shape, dtype=torch.uint8 if held is None else held.dtype)
        name = work.add(f"{source.name}.zero", zero)
    else:
        name = source.inputs[2]
    if zero.dtype not in dtypes:
        return None
    return _Quantised(source.inputs[0], source.inputs[1], name, source.integer("axis", 1))


def _one(work: Workspace, node: Node, position: int) -> _Quantised | None:
    """An input with one scale for all."""
    found = _quantised(work, node, position)
    return found if found is not None and work.constants[found.scale].numel() == 1 else None


def _weight(work: Workspace, node: Node, position: int, axis: int, rank: int | None = None) -> _Quantised | None:
    """A constant (of this rank) with one scale for all, or one a place along this axis."""
    found = _quantised(work, node, position)
    if found is None:
        return None
    producer = work.producer.get(found.value)
    held = work.constants.get(found.value)
    if held is None and producer is not None and is_default(producer, "QuantizeLinear"):
        held = work.constant(producer, 0)
    if held is None or rank not in (None, held.dim()):
        return None
    return found if work.constants[found.scale].numel() == 1 or found.axis % held.dim() == axis else None


def _bias(work: Workspace, node: Node, x: _Quantised, weight: _Quantised) -> str | None:
    """The name of the bias in units of both scales, empty without one; None when it is of another kind."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return ""
    found = _quantised(work, node, 2, (torch.int32,))
    if found is None or found.value not in work.constants or bool(work.constants[found.zero].any()):
        return None
    units = (work.constants[x.scale] * work.constants[weight.scale]).reshape(-1)
    own = work.constants[found.scale].reshape(-1)
    return found.value if torch.allclose(own.expand_as(units) if own.numel() == 1 else own, units, rtol=1e-5) else None


def _conv(work: Workspace, node: Node, y: _Quantised) -> Node | None:
    x, weight = _one(work, node, 0), _weight(work, node, 1, 0)
    if x is None or weight is None:
        return None
    bias = _bias(work, node, x, weight)
    if bias is None:
        return None
    inputs = (*_three(x), *_three(weight), y.scale, y.zero, *([bias] if bias else []))
    return replace(node, op="QLinearConv", inputs=inputs)


def _gemm(work: Workspace, node: Node, y: _Quantised) -> Node | None:
    transposed = node.integer("transB", 0)
    a, b = _one(work, node, 0), _weight(work, node, 1, 0 if transposed else 1, 2)
    if a is None or b is None or node.number("beta", 1.0) != 1.0 or node.number("alpha", 1.0) != 1.0:
        return None
    bias = _bias(work, node, a, b)
    if bias is None:
        return None
    return replace(
        node, op="QGemm", domain=_MICROSOFT, version=1, inputs=(*_three(a), *_three(b), bias, y.scale, y.zero)
    )


def _matmul(work: Workspace, node: Node, y: _Quantised) -> Node | None:
    a, b = _one(work, node, 0), _one(work, node, 1) or _weight(work, node, 1, 1, 2)
    if a is None or b is None:
        return None
    return replace(node, op="QLinearMatMul", inputs=(*_three(a), *_three(b), y.scale, y.zero))


def _binary(work: Workspace, node: Node, y: _Quantised) -> Node | None:
    a, b = _one(work, node, 0), _one(work, node, 1)
    if a is None or b is None or not _alike(work, a, b, y):
        return None
    inputs = (*_three(a), *_three(b), y.scale, y.zero)
    return replace(node, op=f"QLinear{node.op}", domain=_MICROSOFT, version=1, inputs=inputs)


def _unary(work: Workspace, node: Node, y: _Quantised) -> Node | None:
    x = _one(work, node, 0)
    if x is None or not _alike(work, x, y):
        return None
    attributes = {**node.attributes, "channels_last": 0}
    if node.op == "Softmax":
        attributes["opset"] = node.version
        attributes.setdefault("axis", -1 if node.version >= 13 else 1)
    inputs = (*_three(x), y.scale, y.zero)
    return replace(node, op=f"QLinear{node.op}", domain=_MICROSOFT, version=1, inputs=inputs, attributes=attributes)


def _alike(work: Workspace, *values: _Quantised) -> bool:
    return len({work.constants[value.zero].dtype for value in values}) == 1


def _three(value: _Quantised) -> tuple[str, str, str]:
    return value.value, value.scale, value.zero


_Maker = Callable[[Workspace, Node, _Quantised], Node | None]
_MAKERS: dict[str, _Maker] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _binary,
    "Mul": _binary,
    "GlobalAveragePool": _unary,
    "AveragePool": _unary,
    "Sigmoid": _unary,
    "LeakyRelu": _unary,
    "Softmax": _unary,
}
