"""Layer norms that exporters spell out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from robaudit.target.onnx.fused.program import Program, argument, integers, is_call, operands, source
from robaudit.target.onnx.fused.views import permutation


@dataclass(frozen=True)
class Normed:
    """``permute(layer_norm(...))``, the permutation being optional."""

    norm: fx.Node
    axes: list[int] | None


def quotient(program: Program, node: fx.Node) -> fx.Node | None:
    """``(x - mean) / sqrt(variance + epsilon)``, also as a product with the reciprocal root."""
    for centred, root in _pairs(node):
        if not is_call(centred, "sub") or not isinstance(root, fx.Node):
            continue
        variance = _under_root(program, root, divided=is_call(node, "div"))
        x, mean = operands(centred)
        if variance is None or not isinstance(x, fx.Node) or not is_call(mean, "mean") or source(mean) is not x:
            continue
        squared, epsilon = variance
        axes = _axes(program, mean)
        if axes is None or _axes(program, squared) != axes or not _is_square(program, source(squared), centred):
            continue
        if program.same_type(x, node) and program.shape(x) == program.shape(node):
            return _norm(program, x, axes, epsilon)
    return None


def scale(program: Program, node: fx.Node) -> fx.Node | None:
    """The product with a layer norm that has neither weight nor bias yet."""
    return _affine(program, node, 2)


def shift(program: Program, node: fx.Node) -> fx.Node | None:
    """The sum with a layer norm that has no bias yet."""
    return _affine(program, node, 3)


def _norm(program: Program, x: fx.Node, axes: list[int], epsilon: float) -> fx.Node | None:
    shape, rank = program.shape(x), len(program.shape(x))
    if axes == list(range(rank - len(axes), rank)):
        return program.call(F.layer_norm, x, [shape[axis] for axis in axes], None, None, epsilon)
    if len(axes) != 1 or axes[0] == 0:
        return None
    # Over channels that are not last: turned there and back, which costs less than the formula.
    there = [*(axis for axis in range(rank) if axis not in axes), *axes]
    back = [there.index(axis) for axis in range(rank)]
    turned = program.call(torch.permute, x, there)
    norm = program.call(F.layer_norm, turned, [shape[axes[0]]], None, None, epsilon)
    return program.call(torch.permute, norm, back)


def _affine(program: Program, node: fx.Node, position: int) -> fx.Node | None:
    """Make a constant operand the weight (position 2) or bias (3) of the layer norm that is the other one."""
    for value, constant in _pairs(node):
        normed = _normed(program, value)
        if normed is None or not isinstance(constant, fx.Node) or not program.is_constant(constant):
            continue
        norm = normed.norm
        if norm.args[3] is not None or (position == 2 and norm.args[2] is not None):
            continue
        vector = _fitted(program, normed, constant, len(program.shape(node)))
        if vector is None or not program.same_type(norm, constant) or program.shape(value) != program.shape(node):
            continue
        arguments = list(norm.args)
        arguments[position] = vector
        made = program.call(F.layer_norm, *arguments)
        return made if normed.axes is None else program.call(torch.permute, made, normed.axes)
    return None


def _normed(program: Program, value: Any) -> Normed | None:
    if not isinstance(value, fx.Node) or len(value.users) != 1:
        return None
    axes = permutation(value, len(program.shape(value)))
    norm = value if axes is None else source(value)
    if norm is None or len(norm.users) != 1:
        return None
    plain = is_call(norm, "layer_norm") and len(norm.args) == 5 and not norm.kwargs
    return Normed(norm, axes) if plain else None


def _fitted(program: Program, normed: Normed, constant: fx.Node, rank: int) -> fx.Node | None:
    """The constant in the shape that is normalised, if it varies there alone."""
    shape = program.shape(constant)
    shape = [1] * (rank - len(shape)) + shape
    axes = normed.axes or list(range(rank))
    inner = [shape[axes.index(axis)] for axis in range(rank)]
    wanted = normed.norm.args[1]
    assert isinstance(wanted, list)
    if inner != [1] * (rank - len(wanted)) + wanted:
        return None
    return constant if program.shape(constant) == wanted else program.call(torch.reshape, constant, wanted)


def _pairs(node: fx.Node) -> list[tuple[Any, Any]]:
    left, right = operands(node)
    return [(left, right)] if is_call(node, "div", "sub") else [(left, right), (right, left)]


def _axes(program: Program, mean: fx.Node) -> list[int] | None:
    """The axes of a mean that keeps them."""
    axes = integers(argument(mean, 1, "dim"))
    keeps = argument(mean, 2, "keepdim", False)
    x = source(mean)
    if axes is None or not keeps or x is None:
        return None
    return sorted(axis % len(program.shape(x)) for axis in axes)


def _under_root(program: Program, root: fx.Node, *, divided: bool) -> tuple[fx.Node, float] | None:
    """The mean and the number added to it in ``sqrt(mean + epsilon)``, or in one over it."""
    if not divided:
        if is_call(root, "rsqrt"):
            return _plus_epsilon(program, source(root))
        if is_call(root, "reciprocal"):
            inner = source(root)
        elif is_call(root, "div") and program.number(operands(root)[0]) == 1.0:
            inner = operands(root)[1]
        else:
            return None
        if not isinstance(inner, fx.Node):
            return None
        root = inner
    if is_call(root, "sqrt"):
        return _plus_epsilon(program, source(root))
    if is_call(root, "pow") and program.number(argument(root, 1, "exponent")) == 0.5:
        return _plus_epsilon(program, source(root))
    return None


def _plus_epsilon(program: Program, node: Any) -> tuple[fx.Node, float] | None:
    if not is_call(node, "add"):
        return None
    for mean, number in _pairs(node):
        epsilon = program.number(number)
        if epsilon is not None and epsilon >= 0 and is_call(mean, "mean"):
            return mean, epsilon
    return None


def _is_square(program: Program, node: Any, x: fx.Node) -> bool:
    if is_call(node, "square"):
        return source(node) is x
    if is_call(node, "pow"):
        return source(node) is x and program.number(argument(node, 1, "exponent")) == 2.0
    return is_call(node, "mul") and operands(node) == (x, x)
