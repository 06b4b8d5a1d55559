"""Choosing among values: how many are chosen depends on the values, which must therefore be known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


@operator("NonZero", host=(0,))
def _non_zero(node: Node, x: Tensor) -> Tensor:
    return torch.nonzero(x).t()


@operator("Unique", host=(0,))
def _unique(node: Node, x: Tensor) -> Result:
    axis = node.attributes.get("axis")
    wide = x.to(torch.float32) if x.dtype == torch.bfloat16 else x  # numpy has no bfloat16
    values = wide.numpy() if axis is not None else wide.numpy().reshape(-1)
    along = 0 if axis is None else int(axis)
    distinct, first, inverse, counts = np.unique(
        values, return_index=True, return_inverse=True, return_counts=True, axis=along
    )
    inverse = inverse.reshape(-1)
    if not node.integer("sorted", 1):
        # In the order of first appearance.
        order = np.argsort(first)
        distinct, first, counts = np.take(distinct, order, along), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    whole = (torch.from_numpy(np.ascontiguousarray(part).astype(np.int64)) for part in (first, inverse, counts))
    return torch.from_numpy(np.ascontiguousarray(distinct)).to(x.dtype), *whole


@operator("NonMaxSuppression", host=(0, 1, 2, 3, 4))
def _suppress(
    node: Node,
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:
    limit = 0 if most is None else int(most)
    threshold = 0.0 if overlap is None else float(overlap)
    chosen: list[list[int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch].double().numpy(), centred=bool(node.integer("center_point_box", 0)))
        for label in range(scores.shape[1]):
            row = scores[batch, label].double().numpy()
            kept: list[int] = []
            for box in np.argsort(-row, kind="stable"):
                if len(kept) >= limit or (least is not None and row[box] <= float(least)):
                    break
                if all(_overlap(corners[box], corners[other]) <= threshold for other in kept):
                    kept.append(int(box))
            chosen.extend([batch, label, box] for box in kept)
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 3)


def _corners(boxes: NDArray[np.float64], *, centred: bool) -> NDArray[np.float64]:
    """Lower and upper corner of each box; they may be given in any order."""
    if centred:
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], 1)


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0.0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0
