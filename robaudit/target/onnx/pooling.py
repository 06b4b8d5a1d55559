"""Pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import torch_pads
from robaudit.target.onnx.convolution import window_pads
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_MAX = {1: torch.max_pool1d, 2: torch.max_pool2d, 3: torch.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


@dataclass(frozen=True)
class _Window:
    rank: int
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    ceil: bool

    def native(self) -> bool:
        """Whether torch's own padding does: equal on both sides and at most half the kernel."""
        begins = self.pads[: self.rank]
        return begins == self.pads[self.rank :] and all(
            0 <= 2 * pad <= k for pad, k in zip(begins, self.kernel, strict=True)
        )

    def full_pads(self, x: Tensor) -> list[int]:
        """Pads after which windows in floor mode are exactly the ones ONNX wants."""
        ends = []
        for i in range(self.rank):
            size, begin, end = x.shape[2 + i], self.pads[i], self.pads[i + self.rank]
            extent = (self.kernel[i] - 1) * self.dilations[i] + 1
            room = size + begin + end - extent
            steps = -(-room // self.strides[i]) if self.ceil else room // self.strides[i]
            if self.ceil and steps * self.strides[i] >= size + begin:
                steps -= 1  # a window that would start in the end padding is dropped
            ends.append(steps * self.strides[i] + extent - size - begin)
        return self.pads[: self.rank] + ends


def _window(node: Node, x: Tensor) -> _Window:
    kernel = node.integers("kernel_shape") or []
    rank = len(kernel)
    if rank not in _MAX:
        raise node.unsupported(f"{rank} spatial dimensions")
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    pads = window_pads(node, x, kernel, strides, dilations)
    # With auto_pad the output size is fixed by the stride alone; rounding up would add a window.
    ceil = bool(node.integer("ceil_mode", 0)) and not node.text("auto_pad", "NOTSET").startswith("SAME")
    return _Window(rank, kernel, strides, dilations, pads, ceil)


@operator("MaxPool")
def _max_pool(node: Node, x: Tensor) -> Tensor:
    if node.wants(1):
        raise node.unsupported("indices")
    dtype = x.dtype
    if not x.is_floating_point():
        x = x.to(torch.float32)
    w = _window(node, x)
    pool = _MAX[w.rank]
    if w.native():
        y = pool(x, w.kernel, w.strides, w.pads[: w.rank], w.dilations, w.ceil)
    else:
        padded = F.pad(x, torch_pads(w.full_pads(x)), value=-math.inf)
        y = pool(padded, w.kernel, w.strides, [0] * w.rank, w.dilations, False)
    return y.to(dtype)


@operator("AveragePool")
def _average_pool(node: Node, x: Tensor) -> Tensor:
    w = _window(node, x)
    include = bool(node.integer("count_include_pad", 0))
    pool = _AVERAGE[w.rank]
    dense = all(d == 1 for d in w.dilations)
    if dense and w.native():
        return pool(x, w.kernel, w.strides, w.pads[: w.rank], w.ceil, include)
    pads = w.full_pads(x)
    # How many cells each window counts: the real ones, and the declared padding if asked; never ceil mode's
    # overhang.
    cells = torch.ones([1, 1, *x.shape[2:]], dtype=x.dtype)
    if include:
        cells = F.pad(cells, torch_pads(w.pads), value=1.0)
        overhang = [full - declared for full, declared in zip(pads, w.pads, strict=True)]
        cells = F.pad(cells, torch_pads(overhang))
    else:
        cells = F.pad(cells, torch_pads(pads))
    return _window_sum(F.pad(x, torch_pads(pads)), w) / _window_sum(cells, w)


def _window_sum(x: Tensor, w: _Window) -> Tensor:
    """Sums over dilated windows: a convolution with ones, channel by channel."""
    channels = x.shape[1]
    ones = torch.ones([channels, 1, *w.kernel], dtype=x.dtype)
    return _CONV[w.rank](x, ones, None, w.strides, [0] * w.rank, w.dilations, channels)


@operator("GlobalAveragePool")
def _global_average_pool(node: Node, x: Tensor) -> Tensor:
    return torch.mean(x, list(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(node: Node, x: Tensor) -> Tensor:
    return torch.amax(x, list(range(2, x.dim())), keepdim=True)


@operator("LpPool")
def _lp_pool(node: Node, x: Tensor) -> Tensor:
    w = _window(node, x)
    p = node.integer("p", 2)
    powers = _window_sum(F.pad(torch.pow(torch.abs(x), p), torch_pads(w.full_pads(x))), w)
    return torch.pow(powers, 1.0 / p)


@operator("GlobalLpPool")
def _global_lp_pool(node: Node, x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, node.integer("p", 2), list(range(2, x.dim())), keepdim=True)
    return norm
