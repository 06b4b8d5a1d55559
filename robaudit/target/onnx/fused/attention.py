"""Attention that exporters spell out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from robaudit.target.onnx.fused.program import Program, argument, operands, sole, source
from robaudit.target.onnx.fused.views import permutation


@dataclass(frozen=True)
class Scores:
    """``scale * q @ k^T + mask``."""

    q: fx.Node
    k: fx.Node
    scale: float
    mask: fx.Node | None


def attend(program: Program, node: fx.Node) -> fx.Node | None:
    """``softmax(scale * q @ k^T + mask) @ v``."""
    weights, v = operands(node)
    softmax = sole(weights, "softmax")
    logits = source(softmax)
    if softmax is None or not isinstance(v, fx.Node) or logits is None:
        return None
    if argument(softmax, 1, "dim") not in (-1, len(program.shape(softmax)) - 1):
        return None
    scores = _scores(program, logits)
    if scores is None:
        return None
    if not _fits(program, scores, v):
        program.erase(scores.k)  # where it was made for the question
        return None
    q, k, mask = scores.q, scores.k, scores.mask
    rank = len(program.shape(q))
    if rank == 3:  # torch has a kernel for [batch, heads, length, size] alone
        q, k, v = (program.call(torch.unsqueeze, value, 1) for value in (q, k, v))
        if mask is not None and len(program.shape(mask)) == 3:
            mask = program.call(torch.unsqueeze, mask, 1)
    if mask is not None and len(program.shape(mask)) == 3:
        mask = program.call(torch.unsqueeze, mask, 0)
    made = program.call(F.scaled_dot_product_attention, q, k, v, mask, scale=scores.scale)
    return program.call(torch.squeeze, made, 1) if rank == 3 else made


def _scores(program: Program, node: fx.Node) -> Scores | None:
    mask = None
    if (added := sole(node, "add")) is not None:
        left, right = operands(added)
        for value, other in ((left, right), (right, left)):
            if isinstance(other, fx.Node) and program.known(other) is not None and isinstance(value, fx.Node):
                node, mask = value, other
                break
        else:
            return None
    if len(node.users) != 1:
        return None
    product = program.unscaled(node)
    matrices = sole(product.node, "matmul")
    if matrices is None:
        return None
    left, right = operands(matrices)
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        return None
    q, turned = program.unscaled(left), program.unscaled(right)
    k = _turned_back(program, turned.node)
    if k is None:
        return None
    # A factor may also stand before the transposition.
    inner = program.unscaled(k)
    scale = product.factor * q.factor * turned.factor * inner.factor
    return Scores(q.node, inner.node, scale, mask)


def _turned_back(program: Program, node: fx.Node) -> fx.Node | None:
    """k, given its transpose. A [.., size, length] that comes otherwise is transposed for the operator."""
    rank = len(program.shape(node))
    axes = permutation(node, rank)
    first = source(node)
    if axes is not None and first is not None:
        if axes == [*range(rank - 2), rank - 1, rank - 2]:
            return first
        return program.call(torch.permute, first, [*axes[:-2], axes[-1], axes[-2]])
    return program.call(torch.transpose, node, -2, -1) if rank >= 3 else None


def _fits(program: Program, scores: Scores, v: fx.Node) -> bool:
    """Whether torch's fused kernel takes it, and is exact."""
    values = (scores.q, scores.k, v)
    shapes = [program.shape(value) for value in values]
    if (
        not program.same_type(*values)
        or {len(shape) for shape in shapes} - {3, 4}
        or len({len(s) for s in shapes}) != 1
    ):
        return False
    if any(shape[:-2] != shapes[0][:-2] or shape[-1] != shapes[0][-1] for shape in shapes[1:]):
        return False
    if shapes[1][-2] != shapes[2][-2] or not all(math.prod(shape) for shape in shapes):
        return False
    return math.isfinite(scores.scale) and scores.scale > 0 and _fits_mask(program, scores.mask, shapes, values[0])


def _fits_mask(program: Program, mask: fx.Node | None, shapes: list[list[int]], q: Any) -> bool:
    if mask is None:
        return True
    known = program.known(mask)
    if known is None or known.dtype != program.value(q).dtype or known.dim() < 2:
        return False
    # A query that sees nothing: NaN in the file, zero to torch.
    if bool(torch.isneginf(known.amax(-1)).any()):
        return False
    whole = [*shapes[0][:-2], shapes[0][-2], shapes[1][-2]]
    shape = list(known.shape)
    # The kernel broadcasts over batch and heads alone.
    if shape[-2:] != whole[-2:] or len(shape) > len(whole):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(whole), strict=False))
