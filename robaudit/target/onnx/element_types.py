"""Element types that torch lacks or hardly supports, and which value has which type.

A value of such a type is carried by the next wider type that holds it exactly: wide unsigned integers by
signed ones, integers of 2 and 4 bits by those of 8, floating-point numbers of 4 to 8 bits by float32. What a
quantiser makes of the data is carried by floats too, since only they have gradients. The ONNX type of a value
can therefore not be read off its tensor; it is read off the graph, and the operators that must know it are
given it as an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

FLOAT8E4M3FN, FLOAT8E4M3FNUZ, FLOAT8E5M2, FLOAT8E5M2FNUZ = 17, 18, 19, 20
UINT4, INT4, FLOAT4E2M1, FLOAT8E8M0, UINT2, INT2, FLOAT6E2M3, FLOAT6E3M2 = 21, 22, 23, 24, 25, 26, 27, 28
"""ONNX's codes, by number: older versions of the package lack the names."""

# Wide unsigned types lack most torch kernels, and no classifier computes near their limits: the next signed
# type.
DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT16: torch.int32,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.UINT32: torch.int64,
    onnx.TensorProto.UINT64: torch.int64,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
}
CARRIERS: dict[int, torch.dtype] = {
    **DTYPES,
    **dict.fromkeys((FLOAT8E4M3FN, FLOAT8E4M3FNUZ, FLOAT8E5M2, FLOAT8E5M2FNUZ, FLOAT8E8M0), torch.float32),
    **dict.fromkeys((FLOAT4E2M1, FLOAT6E2M3, FLOAT6E3M2), torch.float32),
    **dict.fromkeys((UINT4, UINT2), torch.uint8),
    **dict.fromkeys((INT4, INT2), torch.int8),
}
"""The torch type of constants, inputs and outputs by ONNX type; DTYPES with the narrow types."""
WIDENED: dict[str, type[np.generic]] = {
    "uint16": np.int32,
    "uint32": np.int64,
    "uint64": np.int64,
    **dict.fromkeys(("int4", "int2"), np.int8),
    **dict.fromkeys(("uint4", "uint2"), np.uint8),
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), np.float32),
    **dict.fromkeys(("float8_e8m0fnu", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"), np.float32),
}
"""The same for arrays, by NumPy name."""
BITS: dict[int, tuple[int, bool]] = {
    UINT2: (2, False),
    INT2: (2, True),
    UINT4: (4, False),
    INT4: (4, True),
    onnx.TensorProto.UINT8: (8, False),
    onnx.TensorProto.INT8: (8, True),
    onnx.TensorProto.UINT16: (16, False),
    onnx.TensorProto.INT16: (16, True),
    onnx.TensorProto.UINT32: (32, False),
    onnx.TensorProto.INT32: (32, True),
    onnx.TensorProto.UINT64: (64, False),
    onnx.TensorProto.INT64: (64, True),
}
"""Integer types: bits, and whether there is a sign."""
_FIXED: dict[str, int] = {
    **dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression"), onnx.TensorProto.INT64),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), onnx.TensorProto.BOOL),
    **dict.fromkeys(("IsNaN", "IsInf", "Not", "And", "Or", "Xor"), onnx.TensorProto.BOOL),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), onnx.TensorProto.INT32),
}
# Which input has the type of the (first) output, where it is not the first.
_LIKE: dict[str, int] = {"Where": 1, "OneHot": 2, "CastLike": 1, "QLinearConv": 7, "QLinearMatMul": 7}
# An output whose type no input shows.
_OPEN = {
    *("ConstantOfShape", "EyeLike", "If", "Loop", "Scan", "SequenceMap", "SequenceAt", "SequenceEmpty", "Optional"),
    *("OptionalGetElement", "OptionalHasElement", "SequenceLength", "TfIdfVectorizer", "MelWeightMatrix"),
    *("HannWindow", "HammingWindow", "BlackmanWindow"),
}

TYPED = frozenset(("com.microsoft", op) for op in ("QuantizeLinear", "DequantizeLinear", "GatherBlockQuantized"))
"""Operators of other domains that :func:`annotate` knows."""


def limits(code: int) -> tuple[int, int]:
    """Smallest and largest value of an integer type."""
    bits, signed = BITS[code]
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def annotate(op: str, inputs: Sequence[str], attributes: dict[str, Any], types: dict[str, int]) -> list[int | None]:
    """Give an operator of the default domain (or one of ``TYPED``) the types it must know; return those of its outputs.

    ``types``: what is known of the values made so far. Adds ``from`` and ``to`` to conversions and
    ``output_dtype`` to quantisers.
    """

    def known(position: int) -> int | None:
        return types.get(inputs[position]) if position < len(inputs) else None

    if op in ("Cast", "CastLike", "BitCast"):
        _set(attributes, "from", known(0))
        _set(attributes, "to", known(1) if op == "CastLike" else None)
        return [attributes.get("to")]
    if op in ("BitwiseNot", "BitShift"):
        _set(attributes, "from", known(0))
        return [known(0)]
    if op == "QuantizeLinear":
        _set(attributes, "output_dtype", known(2))
        return [attributes.get("output_dtype") or int(onnx.TensorProto.UINT8)]
    if op in ("QLinearConv", "QLinearMatMul"):
        _set(attributes, "output_dtype", known(7))
        return [known(7)]
    if op == "DequantizeLinear":
        return [attributes.get("output_dtype") or known(1)]
    if op == "GatherBlockQuantized":
        _set(attributes, "from", known(0))
        return [known(2)]
    if op == "DynamicQuantizeLinear":
        return [int(code) for code in (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8)]
    if op == "TopK":
        return [known(0), int(onnx.TensorProto.INT64)]
    if op in _OPEN:
        return [None]
    if op in _FIXED:
        return [int(_FIXED[op])]
    return [known(_LIKE.get(op, 0))]


def _set(attributes: dict[str, Any], name: str, code: int | None) -> None:
    if code and not attributes.get(name):
        attributes[name] = int(code)
