"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx import exact
from robaudit.target.onnx.arguments import constant, ints, torch_pads
from robaudit.target.onnx.convolution import window_pads
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator
from robaudit.target.running.pools import max_pool2d

_MAX: dict[int, Callable[..., Tensor]] = {1: torch.max_pool1d, 2: max_pool2d, 3: torch.max_pool3d}
_MAX_WITH_INDICES = {
    1: F.max_pool1d_with_indices,
    2: F.max_pool2d_with_indices,
    3: F.max_pool3d_with_indices,
}
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
    # ONNX Runtime leaves the dilation out of what auto_pad adds to all but LpPool.
    pads = window_pads(node, x, kernel, strides, dilations if node.op == "LpPool" else [1] * rank)
    # With auto_pad the output size is fixed by the stride alone; rounding up would add a window.
    ceil = bool(node.integer("ceil_mode", 0)) and not node.text("auto_pad", "NOTSET").startswith("SAME")
    return _Window(rank, kernel, strides, dilations, pads, ceil)


@operator("MaxPool", flat=(1,))
def _max_pool(node: Node, x: Tensor) -> Result:
    dtype = x.dtype
    if not x.is_floating_point():
        x = x.to(torch.float32)
    w = _window(node, x)
    if node.wants(1):
        return _with_indices(node, x, w, dtype)
    pool = _MAX[w.rank]
    if w.native():
        y = pool(x, w.kernel, w.strides, w.pads[: w.rank], w.dilations, w.ceil)
    else:
        padded = F.pad(x, torch_pads(w.full_pads(x)), value=-math.inf)
        y = pool(padded, w.kernel, w.strides, [0] * w.rank, w.dilations, False)
    return y.to(dtype)


def _with_indices(node: Node, x: Tensor, w: _Window, dtype: torch.dtype) -> Result:
    """The maxima, and where each lies in the whole of x when that is written out flat."""
    pads = w.full_pads(x)
    space, padded = list(x.shape[2:]), [size + pads[i] + pads[i + w.rank] for i, size in enumerate(x.shape[2:])]
    wide = F.pad(x, torch_pads(pads), value=-math.inf)
    pool = _MAX_WITH_INDICES[w.rank]
    y, index = pool(wide, w.kernel, w.strides, [0] * w.rank, w.dilations, False, True)
    index = index.to(torch.int64)
    place, weight = torch.zeros_like(index), 1
    column_major = node.integer("storage_order", 0) == 1
    coordinates = []
    for i in reversed(range(w.rank)):
        coordinates.append((i, torch.remainder(index, padded[i]) - pads[i]))
        index = torch.div(index, padded[i], rounding_mode="floor")
    for i, coordinate in reversed(coordinates) if column_major else coordinates:
        place = place + coordinate * weight
        weight *= space[i]
    # Counted by what is there, not by a constant: the number of images may differ from run to run.
    planes = torch.ones_like(place.flatten(2)[:, :, 0])
    before = torch.cumsum(torch.reshape(planes, [planes.numel()]), 0) - 1
    return y.to(dtype), place + torch.reshape(before, [*place.shape[:2], *[1] * w.rank]) * weight


@operator("MaxUnpool", host=(2,))
def _max_unpool(node: Node, x: Tensor, index: Tensor, shape: Tensor | None = None) -> Tensor:
    kernel = node.integers("kernel_shape") or []
    rank = len(kernel)
    strides, pads = node.integers("strides") or [1] * rank, node.integers("pads") or [0] * (2 * rank)
    sizes = [(x.shape[2 + i] - 1) * strides[i] - pads[i] - pads[i + rank] + kernel[i] for i in range(rank)]
    if shape is not None:
        sizes = ints(shape)[2:]
    # The index counts through all images; within its own plane it is the remainder.
    lead, plane = list(x.shape[:2]), math.prod(sizes)
    empty = constant([*lead, plane], 0.0, x.dtype)
    places = torch.remainder(torch.flatten(index, 2), plane)
    return torch.reshape(torch.scatter(empty, 2, places, torch.flatten(x, 2)), [*lead, *sizes])


@operator("AveragePool")
def _average_pool(node: Node, x: Tensor) -> Tensor:
    w = _window(node, x)
    include = bool(node.integer("count_include_pad", 0))
    pool = _AVERAGE[w.rank]
    # torch's kernels know no dilation, and that for volumes no half precision.
    dense = all(d == 1 for d in w.dilations) and (w.rank < 3 or x.dtype in (torch.float32, torch.float64))
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
    mean = torch.mean(x, list(range(2, x.dim())), keepdim=True)
    if not exact.matters(node, x):
        return mean
    rows = x.detach().flatten(2)
    return exact.valued((exact.sum_by_four(rows) / rows.shape[-1]).reshape(list(mean.shape)), mean)


@operator("GlobalMaxPool")
def _global_max_pool(node: Node, x: Tensor) -> Tensor:
    return torch.amax(x, list(range(2, x.dim())), keepdim=True)


@operator("LpPool")
def _lp_pool(node: Node, x: Tensor) -> Tensor:
    w = _window(node, x)
    p = node.integer("p", 2)
    powers = _window_sum(F.pad(torch.pow(torch.abs(x), p), torch_pads(w.full_pads(x))), w)
    # The root has no derivative at zero, where a window of zeros has one (zero): chosen before the root too.
    empty = powers == 0
    return torch.where(empty, 0.0, torch.pow(torch.where(empty, 1.0, powers), 1.0 / p))


@operator("GlobalLpPool")
def _global_lp_pool(node: Node, x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, node.integer("p", 2), list(range(2, x.dim())), keepdim=True)
    return norm
