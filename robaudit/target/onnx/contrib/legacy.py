"""Operators that ONNX Runtime knows in the default domain though ONNX does not (or no longer)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.contrib.common import apply_one
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


@operator("Affine")
def _affine(node: Node, x: Tensor) -> Tensor:
    return node.number("alpha", 1.0) * x + node.number("beta", 0.0)


@operator("Scale")
def _scale(node: Node, x: Tensor) -> Tensor:
    return x * node.number("scale", 1.0)


@operator("ImageScaler")
def _image_scaler(node: Node, x: Tensor) -> Tensor:
    bias = torch.tensor(node.attributes.get("bias") or [0.0], dtype=x.dtype)
    return x * node.number("scale", 1.0) + bias.reshape([-1, 1, 1])


@operator("ParametricSoftplus")
def _parametric_softplus(node: Node, x: Tensor) -> Tensor:
    return node.number("alpha", 1.0) * F.softplus(x * node.number("beta", 1.0))


@operator("ScaledTanh")
def _scaled_tanh(node: Node, x: Tensor) -> Tensor:
    return node.number("alpha", 1.0) * torch.tanh(x * node.number("beta", 1.0))


@operator("Crop")
def _crop(node: Node, x: Tensor) -> Tensor:
    left, top, right, bottom = node.integers("border") or [0, 0, 0, 0]
    size = node.integers("scale")
    height, width = size or (x.shape[2] - top - bottom, x.shape[3] - left - right)
    return torch.narrow(torch.narrow(x, 2, top, height), 3, left, width)


@operator("DynamicSlice", host=(1, 2, 3))
def _dynamic_slice(node: Node, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None) -> Tensor:
    return apply_one(node, "Slice", 10, x, starts, ends, axes)
