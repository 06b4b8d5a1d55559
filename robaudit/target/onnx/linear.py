"""Matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

INTERNAL = "robaudit"
"""Domain of the operators that only our own rewriting puts into a graph."""


@operator("MatMul")
def _matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@operator("Linear", domain=INTERNAL)
def _linear(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@operator("Gemm")
def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    if node.integer("transA", 0):
        a = a.transpose(0, 1)
    if node.integer("transB", 0):
        b = b.transpose(0, 1)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    product = torch.matmul(a, b)
    if alpha != 1.0:
        # An integer product keeps its type: the factor is then a whole number.
        product = product * (alpha if product.is_floating_point() else int(alpha))
    if c is None:
        return product
    if beta != 1.0:
        c = c * (beta if c.is_floating_point() else int(beta))
    return product + c


@operator("Det")
def _det(node: Node, x: Tensor) -> Tensor:
    # There is no factorisation in half precision.
    wide = x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)
    determinant: Tensor = torch.linalg.det(wide)
    return determinant.to(x.dtype)


@operator("Einsum")
def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.text("equation", ""), *values)
