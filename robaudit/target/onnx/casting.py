"""Conversion between element types."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from robaudit.target.onnx import narrow
from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.element_types import BITS, CARRIERS, DTYPES, FLOAT8E8M0, limits
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.straight_through import ATTRIBUTE, BOUNDED_STEP, EXACT, through


@operator("Cast", "CastLike", backward=BOUNDED_STEP)
def _cast(node: Node, x: Tensor, like: Tensor | None = None) -> Tensor:
    code = node.integer("to", 0)
    if not code and like is not None:
        return x.to(like.dtype)
    if code in BITS:
        return _to_integer(node, x, code)
    if code in DTYPES:
        return x.to(DTYPES[code])
    if code not in CARRIERS:
        raise node.unsupported(f"type {code}")
    saturate = bool(node.integer("saturate", 1))
    held = x.detach() if x.is_floating_point() else x
    if code == FLOAT8E8M0:
        value = narrow.power_of_two(held, node.text("round_mode", "up"), saturate=saturate)
        return _straight(node, x, value, 0.0, 2.0**127)
    value = narrow.rounded(held, code, saturate=saturate)
    largest = narrow.FORMATS[code].largest
    if code in narrow.WITHOUT_NAN and x.is_floating_point():
        x = torch.where(torch.isnan(x), torch.zeros_like(x), x)
    return _straight(node, x, value, -largest, largest)


def _to_integer(node: Node, x: Tensor, code: int) -> Tensor:
    # A rule that no pass wrote may not turn integers into floats.
    if not x.is_floating_point() or is_known(x) or ATTRIBUTE not in node.attributes:
        return whole(x, code)
    if node.text(ATTRIBUTE, EXACT) == EXACT:
        return whole(x, code)
    # All of float32's whole numbers fit 16 bits and more; 32 bits need float64.
    carrier = torch.float64 if BITS[code][0] > 16 or x.dtype == torch.float64 else torch.float32
    low, high = limits(code)
    return _straight(node, x, whole(x.detach(), code).to(carrier), low - 1.0, high + 1.0)


def _straight(node: Node, x: Tensor, value: Tensor, low: float, high: float) -> Tensor:
    if not x.is_floating_point():
        return value
    return through(value, x, node.text(ATTRIBUTE, EXACT), low, high)


def whole(x: Tensor, code: int) -> Tensor:
    """Integers of a type: the fraction is cut off, and what does not fit wraps around."""
    dtype = CARRIERS[code]
    bits, signed = BITS[code]
    if torch.iinfo(dtype).bits == bits:
        return x.to(dtype)
    # Carried by a wider type.
    wide = torch.int64 if bits > 16 else torch.int32
    y = torch.bitwise_and(x.to(wide), (1 << bits) - 1)
    if signed:
        half = 1 << bits - 1
        y = torch.bitwise_xor(y, half) - half
    return y.to(dtype)


@operator("BitCast", flat=(0,))
def _bit_cast(node: Node, x: Tensor) -> Tensor:
    start, code = node.integer("from", 0), node.integer("to", 0)
    for one in (start, code):
        if one not in DTYPES:
            raise node.unsupported(f"type {one}")
    y = x
    if start in BITS:
        # As stored: the type of the same width that torch has.
        bits = BITS[start][0]
        y = whole(x, {16: onnx.TensorProto.INT16, 32: onnx.TensorProto.INT32}.get(bits, start))
    if code not in BITS:
        return y.view(DTYPES[code])
    if code in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
        return y.view(DTYPES[code])
    signed = {16: torch.int16, 32: torch.int32, 64: torch.int64}[BITS[code][0]]
    return whole(y.view(signed), code)
