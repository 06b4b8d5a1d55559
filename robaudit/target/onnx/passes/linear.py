"""Matrix products with constants, and what can be multiplied into them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.passes.workspace import Workspace, is_default


def to_linear(work: Workspace, node: Node) -> Node | None:
    """MatMul and Gemm with a constant matrix are torch's linear, its factors multiplied in once."""
    if not is_default(node, "MatMul", "Gemm"):
        return None
    weight = work.constant(node, 1)
    if weight is None or weight.dim() != 2 or not weight.is_floating_point() or node.integer("transA", 0):
        return None
    if not node.integer("transB", 0):
        weight = weight.t()
    inputs = [node.inputs[0], ""]
    bias = work.constant(node, 2)
    if len(node.inputs) > 2 and node.inputs[2]:
        if bias is None or bias.numel() not in (1, weight.shape[0]) or bias.shape[-1:] != (bias.numel(),):
            return None
        if bias.dim() > 1 and bias.shape[0] != 1:
            return None
        bias = _times(bias, node.number("beta", 1.0)).reshape(-1).expand(weight.shape[0])
        inputs.append(work.add(f"{node.name}.bias", bias))
    inputs[1] = work.add(f"{node.name}.weight", _times(weight, node.number("alpha", 1.0)))
    return replace(node, op="Linear", domain=INTERNAL, inputs=tuple(inputs), attributes={})


def absorb_bias(work: Workspace, node: Node) -> Node | None:
    """A vector added after a linear (exporters write MatMul, Add) is its bias."""
    if not is_default(node, "Add"):
        return None
    for position in (0, 1):
        bias = work.constant(node, position)
        linear = work.sole_producer(node.inputs[1 - position])
        if bias is None or linear is None or (linear.op, linear.domain) != ("Linear", INTERNAL):
            continue
        weight = work.constants[linear.inputs[1]]
        if len(linear.inputs) == 2 and bias.shape == weight.shape[:1] and bias.dtype == weight.dtype:
            return replace(linear, inputs=(*linear.inputs, node.inputs[position]), outputs=node.outputs)
    return None


def _times(value: Tensor, factor: float) -> Tensor:
    """A product in the value's type, without a copy where there is nothing to multiply."""
    return value if factor == 1.0 else (value * factor).to(value.dtype)
