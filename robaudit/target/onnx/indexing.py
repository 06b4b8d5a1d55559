"""Reading and writing at indices, and padding (reading outside)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import along, axes_of, ints, is_known, torch_pads
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _wrapped(index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end."""
    index = index.to(torch.int64)
    if is_known(index) and (index.numel() == 0 or int(index.min()) >= 0):
        return index
    return torch.where(index < 0, index + size, index)


@operator("Gather")
def _gather(node: Node, x: Tensor, index: Tensor) -> Tensor:
    axis = node.integer("axis", 0) % x.dim()
    index = _wrapped(index, x.shape[axis])
    if index.dim() == 0 and is_known(index):
        return torch.select(x, axis, int(index.item()))
    picked = torch.index_select(x, axis, torch.reshape(index, [index.numel()]))
    return torch.reshape(picked, [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


@operator("GatherElements")
def _gather_elements(node: Node, x: Tensor, index: Tensor) -> Tensor:
    axis = node.integer("axis", 0) % x.dim()
    return torch.gather(x, axis, _wrapped(index, x.shape[axis]))


@operator("GatherND")
def _gather_nd(node: Node, x: Tensor, index: Tensor) -> Tensor:
    batch = node.integer("batch_dims", 0)
    depth = index.shape[-1]
    parts = [_wrapped(index[..., i], x.shape[batch + i]) for i in range(depth)]
    if batch == 0:
        return x[tuple(parts)]
    # The leading axes walk in step with the index: one gather along the indexed axes, which become one. (Indices
    # for the leading axes would hold the batch size.)
    lead, rest = list(x.shape[:batch]), list(x.shape[batch + depth :])
    place = parts[0]
    for part, size in zip(parts[1:], x.shape[batch + 1 : batch + depth], strict=True):
        place = place * size + part
    picks, width = math.prod(index.shape[batch:-1]), math.prod(rest)
    table = torch.reshape(x, [*lead, math.prod(x.shape[batch : batch + depth]), width])
    spread = torch.unsqueeze(torch.reshape(place, [*lead, picks]), -1).expand([*lead, picks, width])
    return torch.reshape(torch.gather(table, batch, spread), [*lead, *index.shape[batch:-1], *rest])


@operator("ScatterND")
def _scatter_nd(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    reduction = node.text("reduction", "none")
    depth = index.shape[-1]
    parts = [_wrapped(index[..., i], x.shape[i]) for i in range(depth)]
    if reduction in ("none", "add"):
        return torch.index_put(x, tuple(parts), updates, accumulate=reduction == "add")
    # As rows: the leading axes that the index names become one.
    row, rows, count = parts[0], math.prod(x.shape[:depth]), math.prod(index.shape[:-1])
    for part, size in zip(parts[1:], x.shape[1:depth], strict=True):
        row = row * size + part
    width = math.prod(x.shape[depth:])
    target = torch.reshape(row, [count, 1]).expand([count, width])
    flat = torch.scatter_reduce(
        torch.reshape(x, [rows, width]), 0, target, torch.reshape(updates, [count, width]), _REDUCTIONS[reduction]
    )
    return torch.reshape(flat, list(x.shape))


@operator("ScatterElements", "Scatter")
def _scatter_elements(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    axis = node.integer("axis", 0) % x.dim()
    index = _wrapped(index, x.shape[axis])
    reduction = node.text("reduction", "none")
    if reduction == "none":
        return torch.scatter(x, axis, index, updates)
    return torch.scatter_reduce(x, axis, index, updates, _REDUCTIONS[reduction], include_self=True)


@operator("Compress", host=(1,))
def _compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    axis = node.attributes.get("axis")
    if axis is None:
        x, axis = torch.reshape(x, [x.numel()]), 0
    kept = torch.nonzero(condition.reshape(-1)).reshape(-1)
    return torch.index_select(x, int(axis) % x.dim(), kept)


@operator("ReverseSequence")
def _reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    time, batch = node.integer("time_axis", 0), node.integer("batch_axis", 1)
    step = along(torch.arange(x.shape[time]), x.dim(), time)
    length = torch.reshape(lengths, [-1 if axis == batch else 1 for axis in range(x.dim())])
    return torch.gather(x, time, torch.where(step < length, length - 1 - step, step).expand(x.shape))


@operator("TensorScatter")
def _write_cache(node: Node, past: Tensor, update: Tensor, start: Tensor | None = None) -> Tensor:
    axis = node.integer("axis", -2) % past.dim()
    at = along(torch.arange(update.shape[axis]), past.dim(), axis)
    if start is not None:
        at = at + torch.reshape(start, [-1] + [1] * (past.dim() - 1))
    if node.text("mode", "linear") == "circular":
        at = torch.remainder(at, past.shape[axis])
    return torch.scatter(past, axis, at.expand(update.shape), update)


@operator("OneHot", host=(1,))
def _one_hot(node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    size = ints(depth)[0]
    axis = node.integer("axis", -1) % (index.dim() + 1)
    shape = [size if i == axis else 1 for i in range(index.dim() + 1)]
    hit = torch.unsqueeze(_wrapped(index, size), axis) == torch.arange(size).reshape(shape)
    return torch.where(hit, values[1], values[0])


@operator("Pad", host=(1, 3))
def _pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    amounts = ints(pads) if pads is not None else node.integers("pads") or node.integers("paddings") or []
    chosen = axes_of(node, axes)
    if chosen is not None:
        full = [0] * (2 * x.dim())
        for i, axis in enumerate(chosen):
            full[axis % x.dim()] = amounts[i]
            full[axis % x.dim() + x.dim()] = amounts[i + len(chosen)]
        amounts = full
    if not any(amounts):
        return x
    mode = node.text("mode", "constant")
    if mode != "constant":
        return _extended(node, x, amounts, mode)
    if value is None:
        fill = node.number("value", 0.0)
    elif is_known(value):
        fill = value.item() if value.numel() else 0.0
    else:
        inside = F.pad(torch.ones_like(x, dtype=torch.bool), torch_pads(amounts))
        return torch.where(inside, F.pad(x, torch_pads(amounts)), value)
    return F.pad(x, torch_pads(amounts), value=fill)


def _extended(node: Node, x: Tensor, amounts: list[int], mode: str) -> Tensor:
    """Pad with values of x itself, axis by axis: which ones is known on the host."""
    names = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in names:
        raise node.unsupported(f"mode {mode}")
    for axis in range(x.dim()):
        begin, end = amounts[axis], amounts[axis + x.dim()]
        if begin == 0 and end == 0:
            continue
        index = np.pad(np.arange(x.shape[axis]), (max(begin, 0), max(end, 0)), mode=names[mode])  # type: ignore[call-overload]
        index = index[max(-begin, 0) : len(index) - max(-end, 0)]
        x = torch.index_select(x, axis, torch.from_numpy(np.ascontiguousarray(index)))
    return x
