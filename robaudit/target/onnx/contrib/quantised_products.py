"""Products of quantised values: matrices, convolutions with the channels last, attention, embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.contrib.attention import self_attention
from robaudit.target.onnx.contrib.common import MICROSOFT, apply, apply_one, channels_first, channels_last
from robaudit.target.onnx.contrib.normalisation import mask_lengths
from robaudit.target.onnx.contrib.quantised import centred, real, requantised
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator
from robaudit.target.onnx.straight_through import QUANTISER


def _by_column(value: Tensor) -> Tensor:
    """A scale or zero point: one for all, or one a column."""
    return value.reshape(()) if value.numel() == 1 else value


def _sums(a: Tensor, a_zero: Tensor | None, b: Tensor, b_zero: Tensor | None) -> Tensor:
    """Whole sums of products, as floats."""
    x = centred(a, None if a_zero is None else _by_column(a_zero))
    y = centred(b, None if b_zero is None else _by_column(b_zero))
    return torch.matmul(x, y.to(x.dtype))


def _scaled(sums: Tensor, a_scale: Tensor, b_scale: Tensor, bias: Tensor | None) -> Tensor:
    y = sums * (_by_column(a_scale) * _by_column(b_scale)).to(sums.dtype)
    return y if bias is None else y + bias


@operator("QLinearConv", domain=MICROSOFT, backward=QUANTISER)
def _conv(node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, *rest: Tensor | None) -> Tensor:
    last = bool(node.integer("channels_last", 0))
    attributes = {name: value for name, value in node.attributes.items() if name != "channels_last"}
    data = channels_first(x) if last else x
    y = apply_one(node, "QLinearConv", 10, data, x_scale, x_zero, *rest, **attributes)
    return channels_last(y) if last else y


@operator("QGemm", domain=MICROSOFT, backward=QUANTISER)
def _gemm(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
) -> Tensor:
    """Quantised with ``y_scale``, else real."""
    b = b.transpose(0, 1) if node.integer("transB", 0) else b
    sums = _sums(a.transpose(0, 1) if node.integer("transA", 0) else a, a_zero, b, b_zero)
    sums = sums if c is None else sums + c.to(sums.dtype)
    factor = node.number("alpha", 1.0) * _by_column(a_scale) * _by_column(b_scale)
    if y_scale is None:
        return sums * factor.to(sums.dtype)
    return requantised(node, sums * (factor / y_scale).to(sums.dtype), y_zero, after=True)


@operator("MatMulIntegerToFloat", domain=MICROSOFT)
def _matmul_to_float(
    node: Node,
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    return _scaled(_sums(a, a_zero, b, b_zero), a_scale, b_scale, bias)


@operator("DynamicQuantizeMatMul", domain=MICROSOFT, backward=QUANTISER)
def _dynamic_matmul(
    node: Node, a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """A's scale is that of the whole tensor, hence of the batch."""
    found = apply(node, "DynamicQuantizeLinear", 11, a, **_rule(node))
    values, scale, zero = found
    return _scaled(_sums(values, zero, b, b_zero), scale, b_scale, bias)


def _rule(node: Node) -> dict[str, str]:
    return {name: value for name, value in node.attributes.items() if name == "backward"}


@operator("MatMulInteger16", domain=MICROSOFT)
def _matmul_integer16(node: Node, a: Tensor, b: Tensor) -> Tensor:
    # Sums of 32 bits, of which float32 would lose some.
    if is_known(a) and is_known(b):
        return torch.matmul(a.to(torch.int64), b.to(torch.int64)).to(torch.int32)
    return torch.matmul(a.to(torch.float64), b.to(torch.float64))


@operator("MulInteger", domain=MICROSOFT)
def _multiply_integer(node: Node, a: Tensor, a_zero: Tensor | None, b: Tensor, b_zero: Tensor | None = None) -> Tensor:
    y = centred(a, a_zero) * centred(b, b_zero)
    return y.to(torch.int32) if is_known(y) else y


@operator("ReduceSumInteger", domain=MICROSOFT)
def _sum_integer(node: Node, x: Tensor) -> Tensor:
    axes = node.integers("axes") or list(range(x.dim()))
    y = torch.sum(centred(x, None), axes, keepdim=bool(node.integer("keepdims", 1)))
    return y.to(torch.int32) if is_known(y) else y


@operator("QAttention", domain=MICROSOFT)
def _attention(
    node: Node,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    x_scale: Tensor,
    w_scale: Tensor,
    mask: Tensor | None = None,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    past: Tensor | None = None,
) -> Result:
    """Only the projection is quantised."""
    projected = _scaled(_sums(x, x_zero, weight, w_zero), x_scale, w_scale, bias)
    return self_attention(node, projected, mask, past, None)


@operator("QEmbedLayerNormalization", domain=MICROSOFT)
def _embed_layer_norm(node: Node, tokens: Tensor, segments: Tensor | None, *rest: Tensor | None) -> Result:
    """``rest``: five tables (words, positions, segments, scale, shift), the mask, their scales and zero points."""
    tables, mask, scales, zeros = rest[:5], rest[5], rest[6:11], rest[11:16]
    words, places, kinds, scale, shift = (
        None if table is None or factor is None else real(table, factor, zero)
        for table, factor, zero in zip(tables, scales, zeros, strict=True)
    )
    if words is None or places is None or scale is None or shift is None:
        raise node.unsupported("a table that is absent")
    total = F.embedding(tokens, words) + torch.narrow(places, 0, 0, tokens.shape[1])
    if segments is not None and kinds is not None:
        total = total + F.embedding(segments, kinds)
    y = F.layer_norm(total, [total.shape[-1]], scale, shift, node.number("epsilon", 1e-12))
    return (y, mask_lengths(tokens, mask)) if node.wants(1) else y
