"""Arithmetic, comparison and logic, element by element."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from robaudit.target.onnx import exact
from robaudit.target.onnx.arguments import is_known, scalar_or_tensor
from robaudit.target.onnx.casting import whole
from robaudit.target.onnx.element_types import BITS
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Reciprocal": torch.reciprocal,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
    "Erf": torch.erf,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
    "Not": torch.logical_not,
    "IsNaN": torch.isnan,
}


def _divide(a: Tensor, b: Tensor | float) -> Tensor:
    # ONNX integer division truncates; quantised values carried as floats never meet Div before
    # DequantizeLinear.
    if a.is_floating_point() or isinstance(b, float) or (isinstance(b, Tensor) and b.is_floating_point()):
        return torch.div(a, b)
    return torch.div(a, b, rounding_mode="trunc")


_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divide,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
}
_LOGICAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}


@operator(*_UNARY)
def _unary(node: Node, x: Tensor) -> Tensor:
    if exact.matters(node, x):
        return exact.sqrt(x) if node.op == "Sqrt" else exact.erf(x)
    return _UNARY[node.op](x)


@operator(*_BINARY)
def _binary(node: Node, a: Tensor, b: Tensor) -> Tensor:
    b = _aligned(node, a, b)
    function = _BINARY[node.op]
    right = scalar_or_tensor(b, a)
    if right is not b:
        return function(a, right)  # type: ignore[arg-type]  # torch takes a number on the right
    if node.op in ("Add", "Mul"):
        left = scalar_or_tensor(a, b)
        if left is not a:
            return function(b, left)  # type: ignore[arg-type]
    return function(a, b)


@operator(*_LOGICAL)
def _logical(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return _LOGICAL[node.op](a, _aligned(node, a, b))


def _aligned(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Before opset 7 broadcasting was explicit: ``axis`` says where b's first dimension lies in a."""
    axis = node.attributes.get("axis")
    if node.version >= 7 or axis is None or not node.integer("broadcast", 0):
        return b
    return b.reshape(list(b.shape) + [1] * (a.dim() - int(axis) % a.dim() - b.dim()))


@operator("Pow")
def _pow(node: Node, a: Tensor, b: Tensor) -> Tensor:
    # The result has the base's type, whatever the exponent's.
    b = _aligned(node, a, b)
    if is_known(b) and b.numel() > 1 and b.is_floating_point() and bool((b != torch.trunc(b)).any()):
        # A root of a negative number is NaN, and so is its slope, which no mask further on can stop (the power
        # transforms of scikit-learn take one of two branches so). The value stays, the slope becomes 0.
        undefined = (a < 0) & (b != torch.trunc(b))
        return torch.where(undefined, torch.nan, torch.pow(torch.where(undefined, 1.0, a), b)).to(a.dtype)
    return torch.pow(a, scalar_or_tensor(b, a)).to(a.dtype)


@operator("Mod")
def _mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.integer("fmod", 0) else torch.remainder(a, b)


@operator("BitShift")
def _bit_shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    left = node.text("direction", "") == "LEFT"
    return _fitted(node, torch.bitwise_left_shift(a, b) if left else torch.bitwise_right_shift(a, b))


@operator("BitwiseNot")
def _bitwise_not(node: Node, x: Tensor) -> Tensor:
    return _fitted(node, torch.bitwise_not(x))


def _fitted(node: Node, x: Tensor) -> Tensor:
    """Without the bits that the ONNX type lacks: it may be carried by a wider one."""
    code = node.integer("from", 0)
    return whole(x, code) if code in BITS else x


@operator("IsInf")
def _is_inf(node: Node, x: Tensor) -> Tensor:
    found = torch.isinf(x)
    if not node.integer("detect_negative", 1):
        found = torch.logical_and(found, x > 0)
    if not node.integer("detect_positive", 1):
        found = torch.logical_and(found, x < 0)
    return found


_VARIADIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Sum": torch.add,
    "Mean": torch.add,
    "Max": torch.maximum,
    "Min": torch.minimum,
}


@operator(*_VARIADIC)
def _variadic(node: Node, *values: Tensor) -> Tensor:
    total = reduce(_VARIADIC[node.op], values)
    return total / len(values) if node.op == "Mean" else total


@operator("Where")
def _where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@operator("Clip")
def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.version < 11:
        smallest, largest = node.attributes.get("min"), node.attributes.get("max")
        return x if smallest is None and largest is None else torch.clamp(x, smallest, largest)
    if low is None and high is None:
        return x
    if (low is None or is_known(low)) and (high is None or is_known(high)):
        return torch.clamp(x, None if low is None else low.item(), None if high is None else high.item())
    if low is not None:
        x = torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


@operator("Identity")
def _identity(node: Node, x: Tensor) -> Tensor:
    return x
