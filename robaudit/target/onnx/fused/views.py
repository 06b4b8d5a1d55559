"""Reshapes and transposes that cancel or combine."""

from __future__ import annotations

import math

import torch
from torch import fx

from robaudit.target.onnx.fused.program import Program, argument, integers, is_call, source


def reshape(program: Program, node: fx.Node) -> fx.Node | None:
    """A reshape to the shape that is there already, of another reshape, or around a transposition."""
    x = source(node)
    if x is None:
        return None
    if program.shape(x) == program.shape(node):
        return x
    inner = source(x)
    if is_call(x, "reshape", "unsqueeze", "squeeze") and inner is not None:
        return inner if program.shape(inner) == program.shape(node) else _to(program, inner, node)
    return _matrices_turned(program, x, node)


def _matrices_turned(program: Program, turned: fx.Node, node: fx.Node) -> fx.Node | None:
    """``reshape(permute(reshape(x)))`` that turns the last two axes and folds the others away meanwhile."""
    axes = permutation(turned, len(program.shape(turned)))
    folded = source(turned)
    x = source(folded)
    if axes is None or folded is None or x is None or not is_call(folded, "reshape"):
        return None
    rank = len(axes)
    before, after = program.shape(x), program.shape(node)
    straight = [*after[:-2], *before[-2:]]
    if axes != [*range(rank - 2), rank - 1, rank - 2] or after != [*after[:-2], *before[:-3:-1]]:
        return None
    if program.shape(folded)[-2:] != before[-2:]:
        return None
    if straight != before:
        x = program.call(torch.reshape, x, straight)
    return program.call(torch.transpose, x, -2, -1)


def as_reshape(program: Program, node: fx.Node) -> fx.Node | None:
    """An axis of one element added or dropped twice over."""
    x = source(node)
    inner = source(x) if is_call(x, "reshape", "unsqueeze", "squeeze") else None
    return inner if inner is not None and program.shape(inner) == program.shape(node) else None


def permute(program: Program, node: fx.Node) -> fx.Node | None:
    """Transpositions one after another are one, or none."""
    rank = len(program.shape(node))
    axes, x = permutation(node, rank), source(node)
    inner = permutation(x, rank)
    first = source(x) if inner is not None else x
    if axes is None or first is None:
        return None
    combined = axes if inner is None else [inner[axis] for axis in axes]
    if combined == list(range(rank)):
        return first
    return None if inner is None else program.call(torch.permute, first, combined)


def transpose(program: Program, node: fx.Node) -> fx.Node | None:
    """Two axes swapped, as any permutation."""
    return permute(program, node) if permutation(source(node), len(program.shape(node))) is not None else None


def same_shape(program: Program, node: fx.Node) -> fx.Node | None:
    """Broadcast to the shape that is there already."""
    x = source(node)
    return x if x is not None and program.shape(x) == program.shape(node) else None


def permutation(node: object, rank: int) -> list[int] | None:
    """The axes of a transposition, or None for any other node."""
    if not isinstance(node, fx.Node):
        return None
    if is_call(node, "permute"):
        axes = integers(argument(node, 1, "dims"))
        axes = axes if len(node.args) < 3 else integers(list(node.args[1:]))
        return None if axes is None else [axis % rank for axis in axes]
    if is_call(node, "transpose"):
        first, second = argument(node, 1, "dim0"), argument(node, 2, "dim1")
        if isinstance(first, int) and isinstance(second, int):
            axes = list(range(rank))
            axes[first], axes[second] = axes[second], axes[first]
            return axes
    return None


def _to(program: Program, x: fx.Node, node: fx.Node) -> fx.Node | None:
    shape = program.shape(node)
    return program.call(torch.reshape, x, shape) if math.prod(shape) else None
