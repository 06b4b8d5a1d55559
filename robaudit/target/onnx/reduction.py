"""Reductions, arg-reductions and sorting along axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from robaudit.target.onnx import exact
from robaudit.target.onnx.arguments import axes_of, ints
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


def _mean(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keep)
    return torch.mean(x.to(torch.float64), axes, keepdim=keep).to(x.dtype)


def _sum(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep).to(x.dtype)  # torch widens integers, ONNX does not


def _product(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep).to(x.dtype)
    return x


def _norm(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    # vector_norm has a gradient (zero) at the origin, where the square root has none.
    if x.is_floating_point():
        norm: Tensor = torch.linalg.vector_norm(x, 2, axes, keepdim=keep)
        return norm
    return _norm(x.to(torch.float64), axes, keep=keep).to(x.dtype)


def _largest(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    return torch.amax(_not_empty(x, axes, smallest=True), axes, keepdim=keep)


def _smallest(x: Tensor, axes: list[int], *, keep: bool) -> Tensor:
    return torch.amin(_not_empty(x, axes, smallest=False), axes, keepdim=keep)


def _not_empty(x: Tensor, axes: list[int], *, smallest: bool) -> Tensor:
    """The extreme of nothing is the type's other end: where there is nothing, one element of that."""
    if all(x.shape[axis] for axis in axes):
        return x
    if x.dtype == torch.bool:
        end: float = not smallest
    elif x.is_floating_point():
        end = -math.inf if smallest else math.inf
    else:
        end = torch.iinfo(x.dtype).min if smallest else torch.iinfo(x.dtype).max
    return torch.full([1 if axis in axes else size for axis, size in enumerate(x.shape)], end, dtype=x.dtype)


class _Reduction(Protocol):
    """Reduces a tensor along axes; ``keep``: they stay, of length 1."""

    def __call__(self, x: Tensor, axes: list[int], *, keep: bool) -> Tensor: ...


_REDUCTIONS: dict[str, _Reduction] = {
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "ReduceMax": _largest,
    "ReduceMin": _smallest,
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, *, keep: _sum(torch.abs(x), axes, keep=keep),
    "ReduceL2": _norm,
    "ReduceSumSquare": lambda x, axes, *, keep: _sum(torch.square(x), axes, keep=keep),
    "ReduceLogSum": lambda x, axes, *, keep: torch.log(_sum(x, axes, keep=keep)),
    "ReduceLogSumExp": lambda x, axes, *, keep: torch.logsumexp(x, axes, keepdim=keep),
}
# What remains of a reduction over no axis at all.
_ELEMENTWISE_PART: dict[str, Callable[[Tensor], Tensor]] = {
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceSumSquare": torch.square,
    "ReduceLogSum": torch.log,
}


def _alone(op: str, x: Tensor) -> Tensor:
    part = _ELEMENTWISE_PART.get(op)
    return x if part is None else part(x)


@operator(*_REDUCTIONS, host=(1,))
def _reduce(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = axes_of(node, axes)
    if not chosen:
        if node.integer("noop_with_empty_axes", 0):
            return _alone(node.op, x)
        chosen = list(range(x.dim()))
    if x.dim() == 0:
        return _alone(node.op, x)
    over, keep = sorted(axis % x.dim() for axis in chosen), bool(node.integer("keepdims", 1))
    y = _REDUCTIONS[node.op](x, over, keep=keep)
    contiguous = over == list(range(over[0], over[-1] + 1))
    return _as_the_runtime_adds(node, x, over, y) if contiguous and exact.matters(node, x) else y


def _as_the_runtime_adds(node: Node, x: Tensor, over: list[int], y: Tensor) -> Tensor:
    """Means and norms over neighbouring axes."""
    value, last = x.detach(), over[-1] == x.dim() - 1
    if node.op == "ReduceL2":
        value = value * value
    rows = value.flatten(over[0], over[-1]).movedim(over[0], -1)
    if node.op == "ReduceMean":
        total = (exact.sum_of_rows(rows) if last else exact.sum_in_order(rows)) / rows.shape[-1]
    else:
        total = exact.sqrt(exact.sum_in_order(rows))
    return exact.valued(total.reshape(list(y.shape)), y)


@operator("ArgMax", "ArgMin")
def _arg_extreme(node: Node, x: Tensor) -> Tensor:
    axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
    extreme = torch.amax(x, axis, keepdim=True) if node.op == "ArgMax" else torch.amin(x, axis, keepdim=True)
    # torch.argmax leaves ties open; the first (or last) equal element is found by an argmax over 0 and 1
    # that breaks ties by position.
    hits = (x == extreme).to(torch.int64)
    size = x.shape[axis]
    order = torch.arange(size, 0, -1) if not node.integer("select_last_index", 0) else torch.arange(1, size + 1)
    shape = [size if i == axis % x.dim() else 1 for i in range(x.dim())]
    return torch.argmax(hits * order.reshape(shape), axis, keepdim=keep)


@operator("TopK", host=(1,))
def _top_k(node: Node, x: Tensor, k: Tensor | None = None) -> Result:
    count = node.integer("k", 1) if k is None else ints(k)[0]
    axis = node.integer("axis", -1)
    largest = bool(node.integer("largest", 1)) if node.version >= 11 else True
    # Ties go to the lower index: torch.topk promises no order, a stable sort does.
    order = torch.argsort(x.detach(), dim=axis, descending=largest, stable=True)
    indices = torch.narrow(order, axis, 0, count)
    return torch.gather(x, axis, indices), indices


@operator("CumSum", "CumProd", host=(1,))
def _cumulative(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    along_axis = ints(axis)[0] % x.dim()
    product = node.op == "CumProd"
    if node.integer("reverse", 0):
        x = torch.flip(x, [along_axis])
    total = (torch.cumprod if product else torch.cumsum)(x, along_axis).to(x.dtype)
    if node.integer("exclusive", 0):
        # One step later, the neutral element first.
        edge = torch.full_like(torch.narrow(x, along_axis, 0, 1), 1 if product else 0)
        total = torch.cat([edge, torch.narrow(total, along_axis, 0, x.shape[along_axis] - 1)], along_axis)
    return torch.flip(total, [along_axis]) if node.integer("reverse", 0) else total
