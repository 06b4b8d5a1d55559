"""Activations, alone or after a bias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.contrib.common import MICROSOFT
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


@operator("Gelu", domain=MICROSOFT)
def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x)


@operator("BiasGelu", domain=MICROSOFT)
def _bias_gelu(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


@operator("FastGelu", domain=MICROSOFT)
def _fast_gelu(node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=MICROSOFT)
def _quick_gelu(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.number("alpha", 1.702) * x)


@operator("BiasSplitGelu", domain=MICROSOFT)
def _bias_split_gelu(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    y = x + bias
    return torch.narrow(y, -1, 0, half) * F.gelu(torch.narrow(y, -1, half, half))


@operator("BiasAdd", domain=MICROSOFT)
def _bias_add(node: Node, x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    return x + bias + skip


@operator("ScaledSiLU", domain=MICROSOFT)
def _scaled_silu(node: Node, x: Tensor, scale: Tensor | None = None) -> Tensor:
    scaled = x * (node.number("alpha", 1.0) if scale is None else scale.to(x.dtype).reshape(()))
    return scaled * torch.sigmoid(scaled)


@operator("GatedAdd", domain=MICROSOFT)
def _gated_add(node: Node, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    return x + y * gate


@operator("BiasSoftmax", domain=MICROSOFT)
def _bias_softmax(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    """Softmax over everything from ``axis`` on, after a bias that is repeated before or inside that axis."""
    axis = node.integer("axis", 1) % x.dim()
    if bias.dim() == x.dim():
        y = x + bias
    else:
        # The bias lacks axes: next to the softmax's (inner), else the leading ones.
        inner = bool(node.integer("is_inner_broadcast", 0))
        shape = list(bias.shape)
        rank = x.dim() - axis
        lead = shape[: len(shape) - rank] if inner else []
        missing = x.dim() - len(shape)
        y = x + bias.reshape([*lead, *[1] * missing, *shape[len(lead) :]])
    rows = y.reshape([*x.shape[:axis], -1])
    return torch.softmax(rows, -1).reshape(list(x.shape))


@operator("BiasDropout", "BitmaskBiasDropout", domain=MICROSOFT)
def _bias_dropout(
    node: Node,
    x: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    ratio: Tensor | None = None,
    training: Tensor | None = None,
) -> Result:
    y = x + bias
    return _dropout(node, y if residual is None else y + residual, training)


@operator("BitmaskDropout", domain=MICROSOFT)
def _bitmask_dropout(node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Result:
    return _dropout(node, x, training)


def _dropout(node: Node, y: Tensor, training: Tensor | None) -> Result:
    if training is not None and not (is_known(training) and not bool(training.any())):
        raise node.unsupported("dropout in training mode")
    if not node.wants(1):
        return y
    if node.op.startswith("Bitmask"):
        raise node.unsupported("a mask of bits")
    return y, torch.ones_like(y, dtype=torch.bool)
