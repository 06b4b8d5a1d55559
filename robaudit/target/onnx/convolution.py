"""Convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import torch_pads
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator

_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


def window_pads(node: Node, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """The pads of a sliding window, ``auto_pad`` resolved for this input size."""
    rank = len(kernel)
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * (2 * rank)
    if not mode.startswith("SAME"):
        return node.integers("pads") or [0] * (2 * rank)
    begins, ends = [], []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        begins.append(begin)
        ends.append(total - begin)
    return begins + ends


def convolve(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with the node's attributes."""
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    if rank not in _CONV:
        raise node.unsupported(f"{rank} spatial dimensions")
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    pads = window_pads(node, x, kernel, strides, dilations)
    symmetric = pads[:rank]
    if pads[:rank] != pads[rank:] or min(pads) < 0:
        # Pad asymmetrically by what the sides do not share; the convolution does the rest without a copy.
        symmetric = [max(0, min(pads[i], pads[i + rank])) for i in range(rank)]
        x = F.pad(x, torch_pads([pad - symmetric[i % rank] for i, pad in enumerate(pads)]))
    return _CONV[rank](x, weight, bias, strides, symmetric, dilations, node.integer("group", 1))


@operator("Conv")
def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return convolve(node, x, weight, bias)


@operator("CausalConvWithState")
def _causal_conv(
    node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None, past: Tensor | None = None
) -> Result:
    before = weight.shape[2] - 1
    padded = F.pad(x, [before, 0]) if past is None else torch.cat([past, x], 2)
    y = torch.conv1d(padded, weight, bias, groups=x.shape[1])
    if node.text("activation", "none") != "none":
        y = F.silu(y)
    return y, torch.narrow(padded, 2, x.shape[2], before)


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = list(weight.shape[2:])
    rank = len(kernel)
    if rank not in _TRANSPOSED:
        raise node.unsupported(f"{rank} spatial dimensions")
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    extra = node.integers("output_padding") or [0] * rank
    mode = node.text("auto_pad", "NOTSET")
    pads = node.integers("pads") or [0] * (2 * rank)
    if mode == "VALID":
        pads = [0] * (2 * rank)
    shape = node.integers("output_shape")
    full = [strides[i] * (x.shape[2 + i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(rank)]
    if shape is None and mode.startswith("SAME"):
        # Only ever crops: a stride beyond the kernel leaves the result short.
        wanted = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
        shape = [min(size, whole) for size, whole in zip(wanted, full, strict=True)]
    if shape is not None:
        for i, size in enumerate(shape[-rank:]):
            total = full[i] - size
            # What is missing is added at the end; an odd surplus is cut where ONNX Runtime cuts it.
            begin = 0 if total < 0 else total // 2 if mode == "SAME_UPPER" else total - total // 2
            pads[i], pads[i + rank] = begin, total - begin
    group = node.integer("group", 1)
    if pads[:rank] == pads[rank:] and min(pads) >= 0:
        return _TRANSPOSED[rank](x, weight, bias, strides, pads[:rank], extra, group, dilations)
    # Without pads, then cropped (or grown) on each side; output_padding adds rows at the end that see no
    # input.
    y = _TRANSPOSED[rank](x, weight, None, strides, [0] * rank, [0] * rank, group, dilations)
    crop = [-pad for pad in pads[:rank]] + [add - pad for add, pad in zip(extra, pads[rank:], strict=True)]
    y = F.pad(y, torch_pads(crop))
    return y if bias is None else y + bias.reshape([-1] + [1] * rank)
