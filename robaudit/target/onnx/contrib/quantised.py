"""Operators from quantised to quantised values, element by element, pooled or put together.

Values that depend on the input are carried as floats with whole values, as quantisation.py has them; the
gradient at the rounding follows the node's backward rule. Where ONNX Runtime rounds depends on the operator:
the zero point of the result is added before or after.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import is_known, torch_pads
from robaudit.target.onnx.contrib.common import MICROSOFT, apply_one, channels_first, channels_last
from robaudit.target.onnx.exact import fma, sum_in_order
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.quantisation import quantise, saturate, widened
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.straight_through import ATTRIBUTE, QUANTISER, rule_of, through

_RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127)}


def range_of(node: Node, zero: Tensor | None) -> tuple[int, int]:
    """Smallest and largest value of the type that a zero point has, uint8 without one."""
    dtype = torch.uint8 if zero is None else zero.dtype
    if dtype not in _RANGES:
        raise node.unsupported(f"zero point of type {dtype}")
    return _RANGES[dtype]


def centred(x: Tensor, zero: Tensor | None) -> Tensor:
    """Whole values as floats, the zero point taken off."""
    y = x if x.is_floating_point() else x.to(torch.float32)
    return y if zero is None else y - zero.to(y.dtype)


def real(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """What quantised values stand for."""
    y = centred(x, zero)
    dtype = torch.promote_types(y.dtype, scale.dtype)
    return y.to(dtype) * scale.to(dtype)


def quantised(node: Node, y: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Divided by the scale, rounded, moved by the zero point and brought into its type's range."""
    return _typed(quantise(y, scale, zero, *range_of(node, zero), rule_of(node)), zero)


def requantised(node: Node, ratio: Tensor, zero: Tensor | None, *, after: bool = False, moved: bool = False) -> Tensor:
    """The same for what is divided by the scale already; the zero point is added before rounding, or after.

    ``moved``: it is added already.
    """
    low, high = range_of(node, zero)
    if after:
        return _typed(quantise(ratio, torch.ones((), dtype=ratio.dtype), zero, low, high, rule_of(node)), zero)
    place = ratio if zero is None or moved else ratio + zero.to(ratio.dtype)
    return _typed(saturate(place, None, low, high, rule_of(node)), zero)


def _typed(y: Tensor, zero: Tensor | None) -> Tensor:
    """Nothing differentiates through a known value: it has its true type."""
    return y.to(torch.uint8 if zero is None else zero.dtype) if is_known(y) else y


@operator("QLinearAdd", domain=MICROSOFT, backward=QUANTISER)
def _add(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    # In the runtime's order, which multiplies and adds in one step: sums often lie halfway between two whole numbers,
    # where the last bit decides.
    first, second = a_scale / y_scale, b_scale / y_scale
    dtype = torch.promote_types(centred(a, None).dtype, a_scale.dtype)
    left, right, shift = (0.0 if zero is None else zero.double() for zero in (a_zero, b_zero, y_zero))
    taken = (first.double() * left + (second.double() * right).to(dtype).double()).to(dtype).double()
    rest = (shift - taken).to(dtype)
    if dtype == torch.float32:
        y = fma(first, a.to(dtype), fma(second, b.to(dtype), rest))
    else:
        y = a.to(dtype) * first + (b.to(dtype) * second + rest)
    return requantised(node, y, y_zero, moved=True)


@operator("QLinearMul", domain=MICROSOFT, backward=QUANTISER)
def _multiply(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    return requantised(node, centred(a, a_zero) * centred(b, b_zero) * (a_scale * b_scale / y_scale), y_zero)


@operator("QLinearLeakyRelu", "QLinearSigmoid", domain=MICROSOFT, backward=QUANTISER)
def _activation(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor | None, y_scale: Tensor, y_zero: Tensor | None = None
) -> Tensor:
    value = real(x, x_scale, x_zero)
    leaky = node.op == "QLinearLeakyRelu"
    y = F.leaky_relu(value, node.number("alpha", 0.01)) if leaky else torch.sigmoid(value)
    return quantised(node, y, y_scale, y_zero)


@operator("QLinearSoftmax", domain=MICROSOFT, backward=QUANTISER)
def _softmax(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor | None, y_scale: Tensor, y_zero: Tensor | None = None
) -> Tensor:
    axis, opset = node.integer("axis", -1), node.integer("opset", 13)
    y = apply_one(node, "Softmax", opset, real(x, x_scale, None), axis=axis)
    ratio = y / y_scale.to(y.dtype)
    # The runtime has a table of exponentials, added one after the other in float32, and a whole number of output
    # steps to 1.
    rows = centred(x.detach(), None).double()
    if opset < 13:
        rows, axis = rows.reshape([*x.shape[: axis % x.dim()], -1]), -1
    rows = rows.transpose(axis, -1)
    # The largest exponential is the fifth power of e below what float32 holds for a whole row.
    most = torch.tensor(torch.finfo(torch.float32).max / rows.shape[-1], dtype=torch.float32)
    room = (torch.tensor(np.log(most.numpy()).item(), dtype=torch.float64) - 5) / x_scale.double()
    parts = torch.exp((rows - torch.amax(rows, -1, keepdim=True) + room) * x_scale.double()).float()
    value = torch.round(parts * torch.floor(1.0 / y_scale) / sum_in_order(parts))
    value = value.transpose(axis, -1).reshape(list(x.shape)).to(ratio.dtype)
    low, high = range_of(node, y_zero)
    shift = 0.0 if y_zero is None else y_zero.to(ratio.dtype)
    value, ratio = torch.clamp(value + shift, low, high), ratio + shift
    return _typed(through(value, ratio, rule_of(node), low - 0.5, high + 0.5), y_zero)


@operator("QLinearConcat", domain=MICROSOFT, backward=QUANTISER)
def _concat(node: Node, y_scale: Tensor, y_zero: Tensor, *parts: Tensor) -> Tensor:
    """``parts``: values, scale and zero point of every input."""
    pieces = [
        quantised(node, real(x, scale, zero), y_scale, y_zero)
        for x, scale, zero in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]
    dtype = next((piece.dtype for piece in pieces if piece.is_floating_point()), pieces[0].dtype)
    return torch.cat([piece.to(dtype) for piece in pieces], node.integer("axis", 0))


@operator("QLinearWhere", domain=MICROSOFT, backward=QUANTISER)
def _where(
    node: Node,
    condition: Tensor,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y: Tensor,
    y_scale: Tensor,
    y_zero: Tensor | None,
    z_scale: Tensor,
    z_zero: Tensor | None = None,
) -> Tensor:
    chosen = torch.where(condition, widened(real(x, x_scale, x_zero)), widened(real(y, y_scale, y_zero)))
    return quantised(node, chosen, z_scale, z_zero)


@operator("QLinearAveragePool", domain=MICROSOFT, backward=QUANTISER)
def _average_pool(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor | None, y_scale: Tensor, y_zero: Tensor | None = None
) -> Tensor:
    last = bool(node.integer("channels_last", 0))
    value = real(x, x_scale, x_zero)
    value = channels_first(value) if last else value
    attributes = {name: v for name, v in node.attributes.items() if name not in ("channels_last", ATTRIBUTE)}
    y = apply_one(node, "AveragePool", 11, value, **attributes)
    if node.integer("ceil_mode", 0) and node.integer("count_include_pad", 0):
        y = _whole_windows(node, value, list(y.shape[2:]))
    return requantised(node, (channels_last(y) if last else y) / y_scale.to(y.dtype), y_zero)


def _whole_windows(node: Node, x: Tensor, sizes: list[int]) -> Tensor:
    """Averages that count what windows reach beyond the padding too, as this operator does, unlike AveragePool."""
    kernel = node.integers("kernel_shape") or []
    strides = node.integers("strides") or [1] * len(kernel)
    begins = (node.integers("pads") or [0] * (2 * len(kernel)))[: len(kernel)]
    steps = zip(sizes, strides, kernel, x.shape[2:], begins, strict=True)
    ends = [(count - 1) * stride + k - size - begin for count, stride, k, size, begin in steps]
    padded = F.pad(x, torch_pads(begins + ends))
    return apply_one(node, "AveragePool", 11, padded, kernel_shape=kernel, strides=strides)


@operator("QLinearGlobalAveragePool", domain=MICROSOFT, backward=QUANTISER)
def _global_average_pool(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, y_scale: Tensor, y_zero: Tensor
) -> Tensor:
    axes = list(range(1, x.dim() - 1)) if node.integer("channels_last", 0) else list(range(2, x.dim()))
    count = math.prod(x.shape[axis] for axis in axes)
    sums = torch.sum(centred(x, x_zero), axes, keepdim=True)
    return requantised(node, sums * (x_scale / (y_scale * count)), y_zero, after=True)


@operator("QLinearReduceMean", domain=MICROSOFT, backward=QUANTISER)
def _reduce_mean(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor | None, y_scale: Tensor, y_zero: Tensor | None = None
) -> Tensor:
    axes = node.integers("axes") or list(range(x.dim()))
    y = torch.mean(real(x, x_scale, x_zero), axes, keepdim=bool(node.integer("keepdims", 1)))
    return quantised(node, y, y_scale, y_zero)


@operator("QuantizeLinear", domain=MICROSOFT, backward=QUANTISER)
def _quantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    return apply_one(node, "QuantizeLinear", 21, x, scale, zero, **node.attributes)


@operator("DequantizeLinear", domain=MICROSOFT)
def _dequantize_linear(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    return apply_one(node, "DequantizeLinear", 21, x, scale, zero, **node.attributes)
