"""Shapes: reading them, and rearranging values without changing any."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import axes_of, ints
from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


@operator("Shape")
def _shape(node: Node, x: Tensor) -> Tensor:
    shape = list(x.shape)
    end = node.attributes.get("end")
    return torch.tensor(shape[node.integer("start", 0) : None if end is None else int(end)], dtype=torch.int64)


@operator("Size")
def _size(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


@operator("Reshape", host=(1,))
def _reshape(node: Node, x: Tensor, target: Tensor | None = None) -> Tensor:
    shape = ints(target) if target is not None else (node.integers("shape") or [])
    if not node.integer("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    if -1 in shape:
        # Resolved now, so that every size in the recorded program is explicit (and can be told from the
        # batch's).
        known = math.prod(size for size in shape if size != -1)
        if known == 0 or x.numel() % known:
            raise ValueError(f"cannot reshape {list(x.shape)} to {shape}")
        shape = [x.numel() // known if size == -1 else size for size in shape]
    return x if shape == list(x.shape) else torch.reshape(x, shape)


@operator("Flatten")
def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.integer("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    shape = [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])]
    return x if shape == list(x.shape) else torch.reshape(x, shape)


@operator("Transpose")
def _transpose(node: Node, x: Tensor) -> Tensor:
    order = node.integers("perm") or list(reversed(range(x.dim())))
    return x if order == list(range(x.dim())) else torch.permute(x, order)


@operator("Squeeze", host=(1,))
def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes_of(node, axes)
    if chosen is None:
        chosen = [i for i, size in enumerate(x.shape) if size == 1]
    dropped = {axis % x.dim() for axis in chosen}
    if any(x.shape[axis] != 1 for axis in dropped):
        raise ValueError(f"cannot squeeze axes {sorted(dropped)} of {list(x.shape)}")
    return torch.reshape(x, [size for i, size in enumerate(x.shape) if i not in dropped])


@operator("Unsqueeze", host=(1,))
def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes_of(node, axes) or []
    rank = x.dim() + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = torch.unsqueeze(x, axis)
    return x


@operator("Concat")
def _concat(node: Node, *values: Tensor) -> Tensor:
    if len(values) == 1:
        return values[0]
    return torch.cat(list(values), node.integer("axis", 1))


@operator("Split", host=(1,))
def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.integer("axis", 0)
    parts = node.integers("split") if sizes is None else ints(sizes)
    if parts is None:
        # Equal parts, rounded up; the last one takes what remains.
        count, total = node.integer("num_outputs", len(node.outputs)), x.shape[axis]
        part = -(-total // count)
        parts = [max(0, min(part, total - i * part)) for i in range(count)]
    return tuple(torch.split_with_sizes(x, parts, axis))


@operator("Slice", host=(1, 2, 3, 4))
def _slice(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first = ints(starts) if starts is not None else node.integers("starts") or []
    last = ints(ends) if ends is not None else node.integers("ends") or []
    chosen = axes_of(node, axes)
    if chosen is None:
        chosen = list(range(len(first)))
    strides = ints(steps) if steps is not None else [1] * len(first)
    for begin, end, axis, stride in zip(first, last, chosen, strides, strict=True):
        axis %= x.dim()
        size = x.shape[axis]
        # slice.indices clamps as ONNX does, but reads -1 as "the last": what lies before the start is None
        # to it.
        stop = None if stride < 0 and end < -size else end
        begin, until, stride = slice(begin, stop, stride).indices(size)
        if (begin, until, stride) == (0, size, 1):
            continue
        if stride > 0:
            index = (slice(None),) * axis + (slice(begin, max(begin, until), stride),)
            x = x[index]
        else:
            x = torch.index_select(x, axis, torch.tensor(list(range(begin, until, stride)), dtype=torch.int64))
    return x


@operator("Expand", host=(1,))
def _expand(node: Node, x: Tensor, target: Tensor) -> Tensor:
    own, other = list(x.shape), ints(target)
    rank = max(len(own), len(other))
    own, other = [1] * (rank - len(own)) + own, [1] * (rank - len(other)) + other
    shape = [b if a == 1 else a for a, b in zip(own, other, strict=True)]
    return x if shape == list(x.shape) else torch.broadcast_to(x, shape)


@operator("Tile", host=(1, 2))
def _tile(node: Node, x: Tensor, repeats: Tensor, axis: Tensor | None = None) -> Tensor:
    counts = ints(repeats)
    if axis is not None:  # opset 1: one axis only
        counts = [counts[0] if i == ints(axis)[0] else 1 for i in range(x.dim())]
    return x if all(count == 1 for count in counts) else torch.tile(x, counts)


@operator("ConstantOfShape", host=(0,))
def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.attributes.get("value")
    value = torch.zeros(1, dtype=torch.float32) if value is None else value
    sizes = ints(shape)
    return value.reshape([1] * len(sizes)).expand(sizes)


@operator("Range", host=(0, 1, 2))
def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    begin, end, step = start.item(), limit.item(), delta.item()
    count = max(0, math.ceil((end - begin) / step))
    return (torch.arange(count, dtype=torch.float64) * step + begin).to(start.dtype)


@operator("EyeLike")
def _eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = DTYPES[node.integer("dtype", 1)] if "dtype" in node.attributes else x.dtype
    rows, columns = x.shape
    diagonal = torch.arange(columns).reshape(1, -1) - torch.arange(rows).reshape(-1, 1)
    return (diagonal == node.integer("k", 0)).to(dtype)


@operator("DepthToSpace")
def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    block = node.integer("blocksize", 1)
    rest = channels // block**2
    if node.text("mode", "DCR") == "DCR":
        parts, order = [batch, block, block, rest, height, width], [0, 3, 4, 1, 5, 2]
    else:
        parts, order = [batch, rest, block, block, height, width], [0, 1, 4, 2, 5, 3]
    moved = torch.permute(torch.reshape(x, parts), order)
    return torch.reshape(moved, [batch, rest, height * block, width * block])


@operator("SpaceToDepth")
def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    block = node.integer("blocksize", 1)
    parts = [batch, channels, height // block, block, width // block, block]
    order = [0, 3, 5, 1, 2, 4] if node.text("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    moved = torch.permute(torch.reshape(x, parts), order)
    return torch.reshape(moved, [batch, channels * block**2, height // block, width // block])


@operator("Trilu", host=(1,))
def _triangle(node: Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    offset = 0 if diagonal is None else ints(diagonal)[0]
    return torch.triu(x, offset) if node.integer("upper", 1) else torch.tril(x, offset)
