"""Gradient cases of quantised values, conversions and steps.

Integer inputs are given as floats, as a twin carries them: what is linear in them has a gradient there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from gradient_case import GradientCase
from onnx_graphs import make_model, one_op

_UINT8, _DOUBLE = onnx.TensorProto.UINT8, onnx.TensorProto.DOUBLE
_RNG = np.random.default_rng(7)
_WHOLE = _RNG.integers(0, 256, (2, 3, 5, 5)).astype(np.float64)
_REAL = _RNG.normal(size=(2, 3, 5, 5))


def _bytes(*shape: int) -> np.ndarray:
    return _RNG.integers(-9, 9, shape).astype(np.int8)


def _summed(op: str, weight: np.ndarray, zero: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    """Sums of products, as floats."""
    nodes = [
        onnx.helper.make_node(op, ["x", "w", "x_zero", "w_zero"], ["sums"], **attributes),
        onnx.helper.make_node("Cast", ["sums"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    constants = {"w": weight, "x_zero": np.array(7, np.uint8), "w_zero": zero}
    return make_model(nodes, (2, 3, 5, 5), constants, dtype=_UINT8)


CASES: list[GradientCase] = [
    GradientCase("Cast", one_op("Cast", (2, 3, 5, 5), to=_DOUBLE, out_type=_DOUBLE), _REAL),
    GradientCase("CastLike", one_op("CastLike", (2, 3, 5, 5), np.zeros(1), out_type=_DOUBLE), _REAL),
    GradientCase(
        "DequantizeLinear",
        one_op(
            "DequantizeLinear",
            (2, 3, 5, 5),
            np.array([0.5, 0.25, 2.0], np.float32),
            np.array([1, 2, 128], np.uint8),
            dtype=_UINT8,
        ),
        _WHOLE,
    ),
    GradientCase(
        "MatMulInteger",
        _summed("MatMulInteger", _bytes(5, 4), np.array([1, 2, 3, 4], np.int8)),
        _WHOLE,
    ),
    GradientCase(
        "ConvInteger",
        _summed("ConvInteger", _bytes(4, 3, 3, 3), np.array(2, np.int8), pads=[1, 1, 1, 1]),
        _WHOLE,
    ),
]
NO_GRADIENT: dict[tuple[str, str], str] = {
    **{
        ("", op): "straight-through: see test_backward"
        for op in (
            *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
            *("Round", "Floor", "Ceil", "Sign", "Hardmax"),
        )
    },
    ("", "BitCast"): "reads a number's bits as another's",
}
