"""Fused matrix products.

FusedMatMul and TransposeMatMul multiply the last two axes of A and B, each transposed on request, and by
``alpha``; ``transBatchA`` and ``transBatchB`` first move the leading axis next to the last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.contrib.common import MICROSOFT, activate, apply_one
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


def _oriented(node: Node, x: Tensor, side: str) -> Tensor:
    if x.dim() < 2:
        return x
    if node.integer(f"transBatch{side}", 0):
        x = torch.movedim(x, 0, -2)
    return x.transpose(-1, -2) if node.integer(f"trans{side}", 0) else x


def _product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    product = torch.matmul(_oriented(node, a, "A"), _oriented(node, b, "B"))
    alpha = node.number("alpha", 1.0)
    return product if alpha == 1.0 else product * alpha


@operator("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def _fused_matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return _product(node, a, b)


@operator("FusedMatMulActivation", domain=MICROSOFT)
def _fused_matmul_activation(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return activate(node, _product(node, a, b), node.text("activation", ""))


@operator("FusedGemm", domain=MICROSOFT)
def _fused_gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    names = ("alpha", "beta", "transA", "transB")
    plain = {name: node.attributes[name] for name in names if name in node.attributes}
    return activate(node, apply_one(node, "Gemm", 13, a, b, c, **plain), node.text("activation", ""))


@operator("GemmFastGelu", domain=MICROSOFT)
def _gemm_fast_gelu(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = torch.matmul(x, weight)
    return F.gelu(product if bias is None else product + bias, approximate="tanh")
