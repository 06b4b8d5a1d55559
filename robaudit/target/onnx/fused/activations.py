"""Activations that exporters spell out."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from robaudit.target.onnx.fused.program import Program, argument, close, is_call, name_of, operands, sole, source

_CUBE = 0.044715
_WEIGHTED = ("conv1d", "conv2d", "conv3d", "linear", "batch_norm")


def product(program: Program, node: fx.Node) -> fx.Node | None:
    """x times a function of x: gelu, silu, hardswish."""
    number, parts = program.factors(node)
    if len(parts) != 2 or not program.same_type(node, *parts):
        return None
    for x, gate in (parts, parts[::-1]):
        if len(gate.users) != 1 or program.shape(x) != program.shape(node):
            continue
        if close(number, 1.0) and is_call(gate, "sigmoid") and source(gate) is x:
            return program.call(F.silu, x)
        if close(number, 1.0) and is_call(gate, "hardsigmoid") and source(gate) is x:
            return program.call(F.hardswish, x)
        if close(number, 1 / 6) and _is_six_wide(program, gate, x):
            return program.call(F.hardswish, x)
        inner = _plus_one(program, gate) if close(number, 0.5) else None
        bent = source(inner)
        if bent is None:
            continue
        if is_call(inner, "erf"):
            scaled = program.unscaled(bent)
            if scaled.node is x and close(scaled.factor, math.sqrt(0.5)):
                return program.call(F.gelu, x)
        if is_call(inner, "tanh") and _is_cubic(program, bent, x):
            return program.call(F.gelu, x, approximate="tanh")
    return None


def sigmoid(program: Program, node: fx.Node) -> fx.Node | None:
    """``1 / (1 + exp(-x))``, whose value survives the overflow of exp, and whose gradient does not."""
    below = source(node)
    if is_call(node, "div"):
        above, below = operands(node)
        if program.number(above) != 1.0:
            return None
    below = sole(below, "add")
    power = _plus_one(program, below) if below is not None and program.same_type(node, below) else None
    if power is None or not is_call(power, "exp") or program.shape(power) != program.shape(node):
        return None
    bent = source(power)
    if bent is None:
        return None
    negative = sole(bent, "neg")
    scaled = program.unscaled(bent)
    x = source(negative) if negative is not None else scaled.node if scaled.factor == -1.0 else None
    return program.call(torch.sigmoid, program.call(torch.neg, bent) if x is None else x)


def hard_sigmoid(program: Program, node: fx.Node) -> fx.Node | None:
    """``clamp(x / 6 + 1 / 2, 0, 1)``."""
    if _bounds(node) != (0.0, 1.0) or not program.same_type(node):
        return None
    shifted = sole(source(node), "add")
    left, right = operands(shifted) if shifted else (None, None)
    if not isinstance(left, fx.Node) or not close(program.number(right), 0.5):
        return None
    scaled = program.unscaled(left)
    same = program.shape(scaled.node) == program.shape(node)
    return program.call(F.hardsigmoid, scaled.node) if same and close(scaled.factor, 1 / 6) else None


def bounded(program: Program, node: fx.Node) -> fx.Node | None:
    """A clamp after weights (relu6), whose gradient costs torch seven times less under another name.

    That gradient is zero on the bounds themselves, where an image has its black and white: elsewhere clamps stay.
    """
    x, bounds = source(node), _bounds(node)
    if x is None or bounds is None or not is_call(x, *_WEIGHTED) or not program.same_type(x, node):
        return None
    low, high = bounds
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not low < high:
        return None
    return program.call(F.hardtanh, x, float(low), float(high))


def _bounds(node: Any) -> tuple[Any, Any] | None:
    return (argument(node, 1, "min"), argument(node, 2, "max")) if is_call(node, "clamp") else None


def _is_six_wide(program: Program, gate: fx.Node, x: fx.Node) -> bool:
    """Whether it is ``clamp(x + 3, 0, 6)``."""
    if _bounds(gate) != (0.0, 6.0) and not is_call(gate, "relu6"):
        return False
    return (added := _plus(program, source(gate))) is not None and added[0] is x and close(added[1], 3.0)


def _plus(program: Program, node: Any) -> tuple[fx.Node, float] | None:
    """A sum of a value and a number."""
    if not is_call(node, "add"):
        return None
    left, right = operands(node)
    for value, other in ((left, right), (right, left)):
        number = program.number(other)
        if number is not None and isinstance(value, fx.Node) and program.shape(value) == program.shape(node):
            return value, number
    return None


def _plus_one(program: Program, node: fx.Node) -> fx.Node | None:
    added = _plus(program, node)
    return added[0] if added is not None and added[1] == 1.0 and len(added[0].users) == 1 else None


def _is_cubic(program: Program, node: Any, x: fx.Node) -> bool:
    """Whether it is ``sqrt(2 / pi) (x + 0.044715 x³)``, or with x taken out of the bracket."""
    if not isinstance(node, fx.Node):
        return False
    number, parts = program.factors(node)
    if not close(number, math.sqrt(2 / math.pi)) or not parts:
        return False
    if len(parts) == 2 and x in parts:
        bracket = parts[0] if parts[1] is x else parts[1]
        added = _plus(program, bracket)
        return added is not None and added[1] == 1.0 and _is_power(program, added[0], x, 2)
    if len(parts) != 1 or not is_call(parts[0], "add"):
        return False
    left, right = operands(parts[0])
    return (left is x and _is_power(program, right, x, 3)) or (right is x and _is_power(program, left, x, 3))


def _is_power(program: Program, node: Any, x: fx.Node, power: int) -> bool:
    """Whether it is ``0.044715 x^power``, as a power or as a product."""
    if not isinstance(node, fx.Node):
        return False
    number, parts = program.factors(node)
    total = 0
    for value in parts:
        if value is x:
            total += 1
        elif name_of(value) == "square" and source(value) is x:
            total += 2
        elif name_of(value) == "pow" and source(value) is x:
            exponent = program.number(argument(value, 1, "exponent"))
            total += int(exponent) if exponent in (2.0, 3.0) else 100
        else:
            return False
    return total == power and close(number, _CUBE)
