"""Which constants of a graph are weights, and what each of them is before training."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.running.trainable import BIAS, GAIN, SLOPE, TOKEN, Weight, matrix

__all__ = ["PRODUCTS", "Role", "first_values", "role_of"]

Role = Literal["matrix", "bias", "gain", "slope", "token"]
_MICROSOFT = "com.microsoft"
_BIASED: dict[int, Role] = {1: "matrix", 2: "bias"}
_NORMS: dict[int, Role] = {1: "gain", 2: "bias"}
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "CausalConvWithState")
_FUSED = ("FusedConv", "NhwcConv", "NhwcFusedConv", "FusedGemm", "GemmFastGelu", "Attention")
_PRODUCTS = ("MatMul", "Einsum")
_NORM_OPS = (
    *("BatchNormalization", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
    *("InstanceNormalization", "GroupNormalization"),
)

_PLACES: dict[tuple[str, str], dict[int, Role]] = {
    **{("", op): _BIASED for op in _LAYERS},
    (INTERNAL, "Linear"): _BIASED,
    **{(_MICROSOFT, op): _BIASED for op in _FUSED},
    **{("", op): {0: "matrix", 1: "matrix"} for op in _PRODUCTS},
    **{(_MICROSOFT, op): {0: "matrix", 1: "matrix"} for op in ("FusedMatMul", "FusedMatMulActivation")},
    ("", "DeformConv"): {1: "matrix", 3: "bias"},
    **{("", op): {1: "matrix", 2: "matrix", 3: "bias", 7: "bias"} for op in ("RNN", "GRU", "LSTM")},
    **{("", op): _NORMS for op in _NORM_OPS},
    (_MICROSOFT, "GroupNorm"): _NORMS,
    (_MICROSOFT, "SkipLayerNormalization"): {2: "gain", 3: "bias", 4: "bias"},
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): {2: "gain", 3: "bias"},
    (_MICROSOFT, "EmbedLayerNormalization"): {2: "token", 3: "token", 4: "token", 5: "gain", 6: "bias"},
    (_MICROSOFT, "MultiHeadAttention"): {3: "bias"},
    **{(_MICROSOFT, op): {1: "bias"} for op in ("BiasGelu", "FastGelu", "BiasAdd", "BiasSplitGelu")},
    ("", "PRelu"): {1: "slope"},
}
PRODUCTS = frozenset(key for key, places in _PLACES.items() if "matrix" in places.values())
"""Operators that multiply by a matrix or filter."""

_LIKELY: dict[str, dict[int, Role]] = {
    **{op: {0: "bias", 1: "bias"} for op in ("Add", "Sub")},
    **{op: {0: "gain", 1: "gain"} for op in ("Mul", "Div")},
    "Gather": {0: "token"},
    "Expand": {0: "token"},
    "Tile": {0: "token"},
    "Concat": dict.fromkeys(range(16), "token"),
}
"""Operators of which a constant may be a weight, or an amount that belongs to the formula."""
_MASK = -10.0
"""What is added to hide a place is this low, or lower."""


def role_of(node: Node, position: int, value: Tensor, deep: Collection[str]) -> Role | None:
    """What a constant input is to training; None: it stays.

    Args:
        node: that reads it.
        position: among its inputs.
        value: of the constant.
        deep: values that some layer's weights have had a part in. What is added to or multiplied with others belongs to
            the preparation of the input: a mean, a deviation.
    """
    if not value.is_floating_point() or value.numel() == 0:
        return None
    known = _PLACES.get((node.domain, node.op))
    if known is not None:
        return known.get(position)
    likely = None if node.domain else _LIKELY.get(node.op, {}).get(position)
    if likely is None or value.numel() == 1 or _is_uniform(value) or _is_mask(value):
        return None
    if likely == "token":
        return likely if node.op != "Gather" or value.dim() > 1 else None
    if not any(name in deep for place, name in enumerate(node.inputs) if place != position):
        return None
    places = sum(size > 1 for size in value.shape)
    return "token" if likely == "bias" and places > 1 else likely


def first_values(name: str, role: Role, node: Node, position: int, shape: tuple[int, ...]) -> Weight:
    """The weight of a role, and what it is before training.

    Args:
        name: in the state.
        role: see :func:`role_of`.
        node: that reads it.
        position: among its inputs.
        shape: of the constant.
    """
    if role == "matrix":
        return Weight(name, shape, *matrix(_fan_in(node, position, shape)), decays=True)
    return Weight(name, shape, *{"bias": BIAS, "gain": GAIN, "slope": SLOPE, "token": TOKEN}[role])


def _fan_in(node: Node, position: int, shape: tuple[int, ...]) -> float:
    """How many products each output of a layer adds."""
    op = node.op
    if op in ("RNN", "GRU", "LSTM"):
        return shape[1] / {"RNN": 1, "GRU": 3, "LSTM": 4}[op]  # the size of the state
    if "ConvTranspose" in op:
        strides = math.prod(node.integers("strides") or [1])
        return shape[0] / node.integer("group", 1) * math.prod(shape[2:]) / strides
    if "Conv" in op or op == "Linear":
        return float(math.prod(shape[1:]))
    if "Gemm" in op and op != "GemmFastGelu":
        return float(shape[1] if node.integer("transB", 0) else shape[0])
    if len(shape) < 2:
        return float(shape[0]) if shape else 1.0
    turned = bool(node.integer("transA" if position == 0 else "transB", 0))
    return float(shape[-1] if (position == 0) != turned else shape[-2])


def _is_uniform(value: Tensor) -> bool:
    return bool((value == value.flatten()[0]).all())


def _is_mask(value: Tensor) -> bool:
    """Whether a constant hides places: nothing but zeros and one large negative number, or infinite."""
    if not bool(value.isfinite().all()):
        return True
    return bool(((value == 0) | (value == value.min())).all()) and float(value.min()) <= _MASK
