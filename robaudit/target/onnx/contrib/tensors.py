"""Indexing, geometry and linear algebra that ONNX Runtime offers beside ONNX's operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import ints, is_known
from robaudit.target.onnx.contrib.common import MICROSOFT, apply_one
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator

# The opset whose meaning ONNX Runtime's copy of an operator has.
_COPIES = {"GatherND": 11, "GridSample": 16}


@operator(*_COPIES, domain=MICROSOFT)
def _as_in_onnx(node: Node, *inputs: Tensor | None) -> Tensor:
    return apply_one(node, node.op, _COPIES[node.op], *inputs, **node.attributes)


@operator("Trilu", domain=MICROSOFT, host=(1,))
def _trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else ints(k)[0]
    return torch.triu(x, diagonal) if node.integer("upper", 1) else torch.tril(x, diagonal)


@operator("Pad", domain=MICROSOFT, host=(1,))
def _pad(node: Node, x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
    return apply_one(node, "Pad", 13, x, pads, value, **node.attributes)


@operator("ExpandDims", domain=MICROSOFT, host=(1,))
def _expand_dims(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    return torch.unsqueeze(x, ints(axis)[0])


@operator("Range", domain=MICROSOFT, host=(0, 1, 2))
def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor | None = None) -> Tensor:
    step = 1 if delta is None else delta.reshape(-1)[0].item()
    return torch.arange(start.reshape(-1)[0].item(), limit.reshape(-1)[0].item(), step, dtype=start.dtype)


@operator("Unique", domain=MICROSOFT)
def _unique(node: Node, x: Tensor) -> Result:
    """In the order of their first appearance."""
    if not is_known(x):
        raise node.unsupported("its size depends on the data")
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    where = torch.arange(x.numel())
    first = torch.full([values.numel()], x.numel()).scatter_reduce(0, inverse, where, "amin")
    order = torch.argsort(first)
    return values[order], torch.argsort(order)[inverse], counts[order]


@operator("UnfoldTensor", domain=MICROSOFT)
def _unfold(node: Node, x: Tensor) -> Tensor:
    return x.unfold(node.integer("dim", -1) % x.dim(), node.integer("size", 1), node.integer("step", 1))


@operator("TorchEmbedding", domain=MICROSOFT)
def _embedding(node: Node, table: Tensor, index: Tensor, *training: Tensor | None) -> Tensor:
    return F.embedding(index, table)


@operator("CDist", domain=MICROSOFT)
def _distances(node: Node, a: Tensor, b: Tensor) -> Tensor:
    metric = node.text("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise node.unsupported(f"metric {metric}")
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distance if metric == "euclidean" else torch.square(distance)


@operator("Inverse", domain=MICROSOFT)
def _inverse(node: Node, x: Tensor) -> Tensor:
    wide = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    inverse: Tensor = torch.linalg.inv(wide)
    return inverse.to(x.dtype)


@operator("Rfft", domain=MICROSOFT)
def _rfft(node: Node, x: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.rfftn(x, dim=_signal_axes(node, x.dim())))


@operator("Irfft", domain=MICROSOFT)
def _irfft(node: Node, x: Tensor) -> Tensor:
    real: Tensor = torch.fft.irfftn(torch.view_as_complex(x.contiguous()), dim=_signal_axes(node, x.dim() - 1))
    return real


def _signal_axes(node: Node, rank: int) -> list[int]:
    if node.integer("normalized", 0) or not node.integer("onesided", 1):
        raise node.unsupported("normalised or two-sided")
    return list(range(rank - node.integer("signal_ndim", 1), rank))


@operator("ComplexMul", "ComplexMulConj", domain=MICROSOFT)
def _complex_product(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The last axis holds a real and an imaginary part."""
    real, imaginary = torch.select(a, -1, 0), torch.select(a, -1, 1)
    x, y = torch.select(b, -1, 0), torch.select(b, -1, 1)
    if node.op == "ComplexMulConj":
        y = -y
    return torch.stack([real * x - imaginary * y, real * y + imaginary * x], -1)


@operator("CropAndResize", domain=MICROSOFT, host=(3,))
def _crop_and_resize(node: Node, x: Tensor, boxes: Tensor, owners: Tensor, size: Tensor) -> Tensor:
    """Crops (R, C, h, w) of x (N, C, H, W) at boxes (R, 4) of normalised y1, x1, y2, x2, corners aligned."""
    mode = node.text("mode", "bilinear")
    if mode not in ("bilinear", "nearest"):
        raise node.unsupported(f"mode {mode}")
    height, width = ints(size)
    # Half precision would misplace the samples.
    boxes = boxes.to(torch.float32) if boxes.dtype == torch.float16 else boxes
    ys = _sampled(boxes[:, 0], boxes[:, 2], height, x.shape[2])
    xs = _sampled(boxes[:, 1], boxes[:, 3], width, x.shape[3])
    rows, columns = torch.unsqueeze(ys, 2), torch.unsqueeze(xs, 1)
    image = torch.permute(x, [0, 2, 3, 1])
    owner = owners.to(torch.int64).reshape([-1, 1, 1])

    def read(y: Tensor, at: Tensor) -> Tensor:
        row = torch.clamp(y, 0, x.shape[2] - 1).to(torch.int64)
        return image[owner, row, torch.clamp(at, 0, x.shape[3] - 1).to(torch.int64)]

    if mode == "nearest":
        # Half is rounded away from zero.
        values = read(torch.floor(rows + 0.5), torch.floor(columns + 0.5))
    else:
        top, left = torch.floor(rows), torch.floor(columns)
        down, right = torch.unsqueeze(rows - top, -1), torch.unsqueeze(columns - left, -1)
        upper = read(top, left) * (1 - right) + read(top, torch.ceil(columns)) * right
        lower = read(torch.ceil(rows), left) * (1 - right) + read(torch.ceil(rows), torch.ceil(columns)) * right
        values = upper * (1 - down) + lower * down
    inside = (rows >= 0) & (rows <= x.shape[2] - 1) & (columns >= 0) & (columns <= x.shape[3] - 1)
    filled = torch.where(torch.unsqueeze(inside, -1), values, node.number("extrapolation_value", 0.0))
    return torch.permute(filled, [0, 3, 1, 2]).to(x.dtype)


def _sampled(low: Tensor, high: Tensor, count: int, size: int) -> Tensor:
    """(R, count) places along an axis of ``size`` cells, in cells."""
    if count == 1:
        return torch.unsqueeze(0.5 * (low + high) * (size - 1), 1)
    step = (high - low) * (size - 1) / (count - 1)
    return torch.unsqueeze(low * (size - 1), 1) + torch.arange(count).reshape([1, -1]) * torch.unsqueeze(step, 1)
