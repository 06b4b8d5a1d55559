"""Quantisers, as floats that a gradient can pass.

Quantised tensors that depend on the input are carried as floats with whole values. The gradient goes
straight through the rounding and stops outside the representable range, where the true one is zero on
average.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from robaudit.target.onnx.arguments import along, is_known
from robaudit.target.onnx.convolution import convolve
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_RANGES: dict[torch.dtype, tuple[int, int]] = {
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.int16: (-32768, 32767),
    torch.int32: (-(2**31), 2**31 - 1),
}
_OUTPUT_RANGES: dict[int, tuple[int, int]] = {
    onnx.TensorProto.UINT8: (0, 255),
    onnx.TensorProto.INT8: (-128, 127),
    onnx.TensorProto.UINT16: (0, 65535),
    onnx.TensorProto.INT16: (-32768, 32767),
    onnx.TensorProto.UINT4: (0, 15),
    onnx.TensorProto.INT4: (-8, 7),
}


def straight_round(x: Tensor) -> Tensor:
    """Round half to even, with the gradient of the identity.

    The difference is exact in floating point, hence so is the sum. Made of ordinary operations, so that
    tracing and vmap keep the gradient (a custom autograd function is lost in some of them).
    """
    return x + (torch.round(x) - x).detach()


def quantise(x: Tensor, scale: Tensor, zero: Tensor | None, low: int, high: int) -> Tensor:
    """Whole values in [low, high]."""
    y = straight_round(x / scale)
    if zero is not None:
        y = y + zero.to(y.dtype)
    return torch.clamp(y, low, high)


def _spread(node: Node, value: Tensor, x: Tensor) -> Tensor:
    """Bring a scale or zero point to x's shape: one for all, one along an axis, or one a block."""
    axis = node.integer("axis", 1)
    block = node.integer("block_size", 0)
    if not block or value.dim() < 2:
        return along(value, x.dim(), axis)
    return torch.narrow(torch.repeat_interleave(value, block, axis), axis, 0, x.shape[axis])


def _range_of(node: Node, zero: Tensor | None) -> tuple[int, int]:
    code = node.integer("output_dtype", 0)
    if code:
        if code not in _OUTPUT_RANGES:
            raise node.unsupported(f"type {code}")
        return _OUTPUT_RANGES[code]
    dtype = torch.uint8 if zero is None else zero.dtype
    if dtype not in _RANGES:
        raise node.unsupported(f"zero point of type {dtype}")
    return _RANGES[dtype]


@operator("QuantizeLinear")
def _quantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    low, high = _range_of(node, zero)
    shift = None if zero is None else _spread(node, zero, x)
    y = quantise(x.to(scale.dtype), _spread(node, scale, x), shift, low, high)
    # Nothing differentiates through a known value: it may have its true type.
    return y.to(torch.uint8 if zero is None else zero.dtype) if is_known(y) and (low, high) != (0, 65535) else y


@operator("DequantizeLinear")
def _dequantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    y = x.to(scale.dtype)
    if zero is not None:
        y = y - _spread(node, zero.to(scale.dtype), x)
    return y * _spread(node, scale, x)


@operator("DynamicQuantizeLinear")
def _dynamic_quantize(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    # The scale is taken as a constant: straight through it too would let the gradient flow by the extremes
    # alone.
    low = torch.clamp(torch.amin(x.detach()), max=0.0)
    high = torch.clamp(torch.amax(x.detach()), min=0.0)
    scale = (high - low) / 255.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return quantise(x, scale, zero, 0, 255), scale, zero


def _centred(x: Tensor, zero: Tensor | None, axis: int | None = None) -> Tensor:
    """Whole values as floats, the zero point taken off (along an axis when it is a vector)."""
    y = x if x.is_floating_point() else x.to(torch.float32)
    if zero is None:
        return y
    return y - (zero if axis is None else along(zero, y.dim(), axis)).to(y.dtype)


@operator("MatMulInteger")
def _matmul_integer(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return torch.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))


@operator("ConvInteger")
def _conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    # Padding adds zeros to the centred values, as it must.
    return convolve(node, _centred(x, x_zero), _centred(weight, w_zero, 0), None)


@operator("QLinearConv")
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
    centred = _centred(x, x_zero)
    sums = convolve(node, centred, _centred(weight, w_zero, 0), None if bias is None else bias.to(centred.dtype))
    real = sums * along(x_scale * w_scale, sums.dim(), 1)
    return quantise(real, y_scale, y_zero, *_range_of(node, y_zero))


@operator("QLinearMatMul")
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
    sums = torch.matmul(_centred(a, a_zero, -2), _centred(b, b_zero, -1))
    real = sums * along(a_scale, sums.dim(), -2) * along(b_scale, sums.dim(), -1)
    return quantise(real, y_scale, y_zero, *_range_of(node, y_zero))
