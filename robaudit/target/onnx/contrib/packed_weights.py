"""Weights packed into fewer than eight bits: unpacked at import, they are constants like any others."""

from __future__ import annotations

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.contrib.common import MICROSOFT, apply_one
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.quantisation import quantise
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.straight_through import QUANTISER, rule_of

_HALF_FP4 = (0.0, 0.0052083333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
# 4-bit codes: floats with a sign, and quantiles of the normal distribution (Dettmers et al. 2023,
# arXiv:2305.14314).
_CODES = {
    0: (*_HALF_FP4, *(-value for value in _HALF_FP4)),
    1: (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ),
}


def unpacked(x: Tensor, bits: int) -> Tensor:
    """Unsigned numbers of so many bits from the bytes of the last axis, low bits first."""
    shifts = torch.arange(8)
    stream = (x.to(torch.int32).unsqueeze(-1) >> shifts) & 1
    stream = stream.flatten(-2)
    count = stream.shape[-1] // bits
    groups = stream[..., : count * bits].reshape([*x.shape[:-1], count, bits])
    return torch.sum(groups << torch.arange(bits), -1)


def _eight_bits(node: Node, a: Tensor, size: int) -> Tensor:
    """A in blocks of its last axis, each rounded to whole multiples of its largest magnitude / 127."""
    blocks = -(-a.shape[-1] // size)
    padded = F.pad(a, [0, blocks * size - a.shape[-1]]).reshape([*a.shape[:-1], blocks, size])
    scale = torch.amax(torch.abs(padded.detach()), -1, keepdim=True) / 127.0
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    whole = quantise(padded, scale, None, -127, 127, rule_of(node))
    y = (whole.to(a.dtype) * scale).reshape([*a.shape[:-1], blocks * size])
    return torch.narrow(y, -1, 0, a.shape[-1])


@operator("MatMulNBits", domain=MICROSOFT, backward=QUANTISER)
def _matmul_nbits(
    node: Node,
    a: Tensor,
    weight: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """A times the transposed weight (N, K), which is quantised in blocks along K.

    With ``accuracy_level`` 4 ONNX Runtime rounds A too, where its kernels can.
    """
    if node.integer("weight_prepacked", 0):
        raise node.unsupported("a weight laid out for one processor")
    bits, rows, depth = node.integer("bits", 4), node.integer("N", 0), node.integer("K", 0)
    size = node.integer("block_size", 32)
    if groups is not None and bits != 4:
        raise node.unsupported("groups of other than four bits")
    whole = groups is None and (zeros is None or not zeros.is_floating_point()) and (bits != 2 or size >= 32)
    if node.integer("accuracy_level", 0) == 4 and whole:
        a = _eight_bits(node, a, size)
    blocks = -(-depth // size)
    values = unpacked(weight.reshape([rows, blocks, -1]), bits).reshape([rows, blocks * size])[:, :depth]
    if zeros is None:
        zeros = torch.full([rows, blocks], 1 << (bits - 1))
    elif not zeros.is_floating_point():
        zeros = unpacked(zeros.reshape([rows, -1]), bits)[:, :blocks]
    block = torch.arange(depth) // size if groups is None else groups.to(torch.int64)
    scale = scales.reshape([rows, blocks])[:, block]
    matrix = (values.to(scale.dtype) - zeros.reshape([rows, -1])[:, block].to(scale.dtype)) * scale
    return F.linear(a, matrix.to(a.dtype), None if bias is None else bias.to(a.dtype))


@operator("GatherBlockQuantized", domain=MICROSOFT)
def _gather_block_quantized(
    node: Node, data: Tensor, index: Tensor, scales: Tensor, zeros: Tensor | None = None
) -> Tensor:
    bits, size = node.integer("bits", 4), node.integer("block_size", 128)
    # Of bytes; 4-bit types come apart.
    packed = node.integer("from", 0) == onnx.TensorProto.UINT8
    if packed:
        data = unpacked(data, bits)
        zeros = None if zeros is None else unpacked(zeros, bits)
    axis = node.integer("quantize_axis", 1) % data.dim()
    if size == 0:
        size = data.shape[axis]
    if packed and zeros is None:
        zeros = torch.full([1], 1 << (bits - 1))

    def spread(value: Tensor) -> Tensor:
        if value.dim() != data.dim() or value.shape[axis] == 1:
            return value
        return torch.narrow(torch.repeat_interleave(value, size, axis), axis, 0, data.shape[axis])

    table = data.to(scales.dtype)
    if zeros is not None:
        table = table - spread(zeros).to(scales.dtype)
    return apply_one(node, "Gather", 13, table * spread(scales), index, axis=node.integer("gather_axis", 0))


@operator("MatMulBnb4", domain=MICROSOFT)
def _matmul_bnb4(node: Node, a: Tensor, weight: Tensor, largest: Tensor) -> Tensor:
    """The weight (N, K) is one row of codes, high bits first, scaled by each block's largest magnitude."""
    kind = node.integer("quant_type", 0)
    if kind not in _CODES or not node.integer("transB", 1):
        raise node.unsupported("another code, or the weight as it is")
    rows, depth, size = node.integer("N", 0), node.integer("K", 0), node.integer("block_size", 64)
    codes = torch.stack([weight >> 4, weight & 15], -1).reshape(-1)[: rows * depth].to(torch.int64)
    values = torch.tensor(_CODES[kind], dtype=torch.float32)[codes]
    scale = torch.repeat_interleave(largest.reshape(-1).to(torch.float32), size)[: rows * depth]
    matrix = (values * scale).reshape([rows, depth]).to(a.dtype)
    return F.linear(a, matrix)
