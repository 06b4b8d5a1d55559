"""Scaling, normalising, imputing and thresholding of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.target.onnx.graph import ML, Node
from robaudit.target.onnx.ml.common import float_type, weights
from robaudit.target.onnx.registry import operator


@operator("Scaler", domain=ML)
def _scaler(node: Node, x: Tensor) -> Tensor:
    dtype = float_type(node)
    scaled: Tensor = (_as_float(x, dtype) - weights(node, "offset")) * weights(node, "scale")
    return scaled.to(dtype)


@operator("Normalizer", domain=ML)
def _normalizer(node: Node, x: Tensor) -> Tensor:
    dtype = float_type(node)
    x = _as_float(x, dtype)
    kind = node.text("norm", "MAX")
    if kind == "MAX":
        size = torch.amax(x, -1, keepdim=True)
    elif kind == "L1":
        size = torch.sum(torch.abs(x), -1, keepdim=True)
    elif kind == "L2":
        size = torch.linalg.vector_norm(x, 2, -1, keepdim=True)
    else:
        raise node.unsupported(f"norm {kind}")
    return (x / torch.where(size == 0, 1.0, size)).to(dtype)


@operator("Imputer", domain=ML)
def _imputer(node: Node, x: Tensor) -> Tensor:
    if x.is_floating_point():
        imputed, replaced = weights(node, "imputed_value_floats"), node.number("replaced_value_float", 0.0)
    else:
        imputed = torch.tensor(node.integers("imputed_value_int64s") or [], dtype=torch.int64)
        replaced = node.integer("replaced_value_int64", 0)
    if not imputed.numel():
        raise node.unsupported("no values to impute of the input's type")
    if imputed.numel() != x.shape[-1]:
        imputed = imputed[:1]
    missing = torch.isnan(x) if math.isnan(replaced) else x == replaced
    return torch.where(missing, imputed.to(x.dtype), x)


@operator("Binarizer", domain=ML, flat=(0,))
def _binarizer(node: Node, x: Tensor) -> Tensor:
    return (x > node.number("threshold", 0.0)).to(x.dtype)


def _as_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Integers become floats of this type; a wider float keeps its own until the result is rounded."""
    return x.to(torch.promote_types(x.dtype, dtype)) if x.is_floating_point() else x.to(dtype)
