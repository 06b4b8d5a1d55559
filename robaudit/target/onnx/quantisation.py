"""Quantisers, as floats that a gradient can pass.

Quantised tensors that depend on the input are carried as floats with whole values (float32 at least: half
precision has not all of 16 bits). What the gradient does at the rounding is the node's rule, see
straight_through.py. Every operation is in ONNX Runtime's order, so that the same numbers are rounded.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from robaudit.target.onnx import narrow
from robaudit.target.onnx.arguments import along, is_known
from robaudit.target.onnx.convolution import convolve
from robaudit.target.onnx.element_types import BITS, CARRIERS, DTYPES, limits
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.saturation import saturated
from robaudit.target.onnx.straight_through import CLIPPED, EXACT, QUANTISER, bounds, rule_of, through

_CODES: dict[torch.dtype, int] = {
    torch.uint8: int(onnx.TensorProto.UINT8),
    torch.int8: int(onnx.TensorProto.INT8),
    torch.int16: int(onnx.TensorProto.INT16),
    torch.int32: int(onnx.TensorProto.UINT16),
}
"""Zero points' types by what carries them, where the graph does not tell."""


def widened(x: Tensor) -> Tensor:
    """As float32, unless it is float64 already."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def quantise(x: Tensor, scale: Tensor, zero: Tensor | None, low: int, high: int, rule: str = CLIPPED) -> Tensor:
    """Whole values in [low, high] that stand for x; scale and zero point broadcast to it."""
    wide = widened(x)
    return saturate(wide / scale.to(wide.dtype), zero, low, high, rule)


def saturate(ratio: Tensor, zero: Tensor | None, low: int, high: int, rule: str) -> Tensor:
    """Round to the nearest, half to even, move by the zero point and bring into the range."""
    if is_known(ratio) or rule == EXACT:
        value = torch.round(ratio.detach())
        return torch.clamp(value if zero is None else value + zero.to(value.dtype), low, high)
    if zero is None or (is_known(zero) and zero.numel() == 1):
        shift = 0.0 if zero is None else float(zero)
        least, most = bounds(ratio, rule, low - shift - 0.5, high - shift + 0.5)
        return saturated(ratio, shift, low, high, least, most)
    moved = zero.to(ratio.dtype)
    value = torch.clamp(torch.round(ratio.detach()) + moved, low, high)
    return through(value, ratio + moved, rule, low - 0.5, high + 0.5)


def _spread(node: Node, value: Tensor, x: Tensor) -> Tensor:
    """Bring a scale or zero point to x's shape: one for all, one along an axis, or one a block."""
    axis = node.integer("axis", 1)
    block = node.integer("block_size", 0)
    if not block or value.dim() < 2:
        return along(value, x.dim(), axis)
    return torch.narrow(torch.repeat_interleave(value, block, axis), axis, 0, x.shape[axis])


def _type_of(node: Node, zero: Tensor | None) -> int:
    """The ONNX type that a quantiser makes."""
    code = node.integer("output_dtype", 0)
    if code:
        return code
    dtype = torch.uint8 if zero is None else zero.dtype
    if dtype not in _CODES:
        raise node.unsupported(f"zero point of type {dtype}")
    return _CODES[dtype]


def _range_of(node: Node, zero: Tensor | None) -> tuple[int, int]:
    code = _type_of(node, zero)
    if code not in BITS:
        raise node.unsupported(f"type {code}")
    return limits(code)


def _typed(node: Node, y: Tensor, zero: Tensor | None) -> Tensor:
    """Nothing differentiates through a known value: it has its true type."""
    return y.to(CARRIERS[_type_of(node, zero)]) if is_known(y) else y


@operator("QuantizeLinear", backward=QUANTISER)
def _quantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    code = _type_of(node, zero)
    precision = DTYPES.get(node.integer("precision", 0))
    scale = _spread(node, scale, x)
    ratio = widened(x) / widened(scale) if precision is None else x.to(precision) / scale.to(precision)
    if code in narrow.FORMATS:
        # Their zero point is 0.
        largest = narrow.FORMATS[code].largest
        value = narrow.rounded(ratio.detach(), code, saturate=bool(node.integer("saturate", 1)))
        return through(value, ratio, rule_of(node), -largest, largest)
    shift = None if zero is None else _spread(node, zero, x)
    return _typed(node, saturate(widened(ratio), shift, *_range_of(node, zero), rule_of(node)), zero)


@operator("DequantizeLinear")
def _dequantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    factor = widened(_spread(node, scale, x))
    y = x.to(factor.dtype)
    if zero is not None:
        y = y - _spread(node, zero, x).to(factor.dtype)
    return (y * factor).to(DTYPES.get(node.integer("output_dtype", 0), scale.dtype))


@operator("DynamicQuantizeLinear", backward=QUANTISER)
def _dynamic_quantize(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    # The scale is taken as a constant: straight through it too would let the gradient flow by the extremes
    # alone.
    low = torch.clamp(torch.amin(x.detach()), max=0.0)
    high = torch.clamp(torch.amax(x.detach()), min=0.0)
    scale = (high - low) / 255.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return quantise(x, scale, zero, 0, 255, rule_of(node)), scale, zero


def _centred(x: Tensor, zero: Tensor | None, axis: int | None = None) -> Tensor:
    """Whole values as floats, the zero point taken off (along an axis when it is a vector)."""
    y = x if x.is_floating_point() else x.to(torch.float32)
    if zero is None or (is_known(zero) and not bool(zero.any())):
        return y
    return y - (zero if axis is None else _aligned(zero, y, axis)).to(y.dtype)


def _aligned(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """A scale or zero point, along an axis when it is a vector, as it is when it has x's rank."""
    return along(value, x.dim(), axis) if value.dim() < 2 else value


# Floats add whole numbers exactly up to 2^24 (for bytes, some 520 products at worst, many thousands in practice).
# Beyond, the last bits go, as they do in ONNX Runtime when it converts its sums to float32; layers of 18,432
# products of large numbers, with sums of 2^29, still gave its answers in every place.
def _products(a: Tensor, a_zero: Tensor | None, b: Tensor, b_zero: Tensor | None) -> Tensor:
    x, y = _centred(a, a_zero, -2), _centred(b, b_zero, -1)
    dtype = torch.promote_types(x.dtype, y.dtype)
    return _sums(torch.matmul(x.to(dtype), y.to(dtype)))


def _convolved(
    node: Node, x: Tensor, x_zero: Tensor | None, weight: Tensor, w_zero: Tensor | None, bias: Tensor | None = None
) -> Tensor:
    # Padding adds zeros to the centred values, as it must.
    data, filters = _centred(x, x_zero), _centred(weight, w_zero, 0)
    dtype = torch.promote_types(data.dtype, filters.dtype)
    return _sums(convolve(node, data.to(dtype), filters.to(dtype), None if bias is None else bias.to(dtype)))


def _sums(y: Tensor) -> Tensor:
    """Known sums have their true type."""
    return y.to(torch.int32) if is_known(y) else y


def _requantised(node: Node, sums: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
    """Sums of products to the output's type, by one factor, as ONNX Runtime does it."""
    y = saturate(widened(sums) * widened(factor), zero, *_range_of(node, zero), rule_of(node))
    return _typed(node, y, zero)


@operator("MatMulInteger")
def _matmul_integer(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return _products(a, a_zero, b, b_zero)


@operator("ConvInteger")
def _conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    return _convolved(node, x, x_zero, weight, w_zero)


@operator("QLinearConv", backward=QUANTISER)
def _qlinear_conv(
    node: Node,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    sums = _convolved(node, x, x_zero, weight, w_zero, bias)
    return _requantised(node, sums, along(x_scale * w_scale / y_scale, sums.dim(), 1), y_zero)


@operator("QLinearMatMul", backward=QUANTISER)
def _qlinear_matmul(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    sums = _products(a, a_zero, b, b_zero)
    factor = _aligned(a_scale, sums, -2) * _aligned(b_scale, sums, -1) / y_scale
    return _requantised(node, sums, factor, y_zero)
