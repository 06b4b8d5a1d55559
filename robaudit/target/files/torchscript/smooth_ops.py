"""Operators that carry a smooth backward in a TorchScript graph; what they compute is in
:mod:`robaudit.target.running.standins`.

They are PyTorch's as soon as this module is imported, under a name of their own: nothing that was there before changes,
and no archive may call them, as the list of what one may call is closed. Arguments that no smooth function stands for,
such as whole numbers, leave a value as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robaudit.target.running import standins

__all__ = ["NAMESPACE"]

NAMESPACE = "robaudit_smooth"
_library: Any = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]
_Function = Callable[..., Tensor]


def _operator(schema: str) -> Callable[[_Function], _Function]:
    def define(function: _Function) -> _Function:
        name = schema.partition("(")[0]
        _library.define(schema)
        _library.impl(name, function, "CompositeImplicitAutograd")
        return function

    return define


def _float(*values: Tensor) -> bool:
    return all(value.is_floating_point() for value in values)


@_operator("ramp(Tensor value, Tensor x, Scalar below, float width) -> Tensor")
def _ramp(value: Tensor, x: Tensor, below: float, width: float) -> Tensor:
    return standins.ramp(value, x, width, float(below)) if _float(x) else value


@_operator("clipped(Tensor value, Tensor x, Scalar? low, Scalar? high, float width) -> Tensor")
def _clipped(value: Tensor, x: Tensor, low: float | None, high: float | None, width: float) -> Tensor:
    return standins.clipped(value, x, low, high, width) if _float(x) else value


@_operator("clipped_to(Tensor value, Tensor x, Tensor? low, Tensor? high, float width) -> Tensor")
def _clipped_to(value: Tensor, x: Tensor, low: Tensor | None, high: Tensor | None, width: float) -> Tensor:
    return standins.clipped(value, x, low, high, width) if _float(x) else value


@_operator("hard_sigmoid(Tensor value, Tensor x, float width) -> Tensor")
def _hard_sigmoid(value: Tensor, x: Tensor, width: float) -> Tensor:
    return standins.clipped(value, x / 6 + 0.5, 0.0, 1.0, width) if _float(x) else value


@_operator("hard_swish(Tensor value, Tensor x, float width) -> Tensor")
def _hard_swish(value: Tensor, x: Tensor, width: float) -> Tensor:
    return standins.hard_swish(value, x, width) if _float(x) else value


@_operator("absolute(Tensor value, Tensor x, float width) -> Tensor")
def _absolute(value: Tensor, x: Tensor, width: float) -> Tensor:
    return standins.absolute(value, x, width) if _float(x) else value


@_operator("sign(Tensor value, Tensor x, float width) -> Tensor")
def _sign(value: Tensor, x: Tensor, width: float) -> Tensor:
    return standins.sign(value, x, width) if _float(x) else value


@_operator("extreme(Tensor value, Tensor a, Tensor b, float width, bool largest) -> Tensor")
def _extreme(value: Tensor, a: Tensor, b: Tensor, width: float, largest: bool) -> Tensor:  # noqa: FBT001
    return standins.extreme(value, a, b, width, largest) if _float(a, b) else value


@_operator(
    "pooled(Tensor value, Tensor x, int[] kernel, int[] stride, int[] padding, int[] dilation, bool ceil, float share) "
    "-> Tensor"
)
def _pooled(value: Tensor, x: Tensor, *window: Any) -> Tensor:
    kernel, stride, padding, dilation, ceil, share = window
    if not _float(x) or any(step != 1 for step in dilation):
        return value
    strides, pads = ([*sizes] * (len(kernel) // len(sizes)) for sizes in (stride or kernel, padding))
    return standins.pooled(value, x, share, [*kernel], strides, pads, ceil)


@_operator("pooled_to(Tensor value, Tensor x, float share, int places) -> Tensor")
def _pooled_to(value: Tensor, x: Tensor, share: float, places: int) -> Tensor:
    return standins.pooled_to(value, x, share, places) if _float(x) else value


@_operator("exceeds(Tensor truth, Tensor a, Tensor b, float width) -> Tensor")
def _exceeds(truth: Tensor, a: Tensor, b: Tensor, width: float) -> Tensor:
    """How true it is that a is larger; of whole numbers what ``truth`` says."""
    a, b = (v.to(w.dtype) if v.dim() == 0 and not _float(v) else v for v, w in ((a, b), (b, a)))
    return standins.exceeds(a, b, width) if _float(a, b) else _known(truth)


@_operator("known(Tensor truth) -> Tensor")
def _known(truth: Tensor) -> Tensor:
    """A truth value as a number without a gradient."""
    return truth.to(torch.get_default_dtype())


@_operator("negated(Tensor a) -> Tensor")
def _negated(a: Tensor) -> Tensor:
    return 1 - a


@_operator("both(Tensor a, Tensor b) -> Tensor")
def _both(a: Tensor, b: Tensor) -> Tensor:
    return a * b


@_operator("either(Tensor a, Tensor b) -> Tensor")
def _either(a: Tensor, b: Tensor) -> Tensor:
    return a + b - a * b


@_operator("number(Tensor value, Tensor truth) -> Tensor")
def _number(value: Tensor, truth: Tensor) -> Tensor:
    """What a truth value became, as a number."""
    return standins.carried(value, truth) if _float(value) and value.shape == truth.shape else value


@_operator("times(Tensor value, Tensor mask, Tensor truth, Tensor other) -> Tensor")
def _times(value: Tensor, mask: Tensor, truth: Tensor, other: Tensor) -> Tensor:
    """A truth value times a number: what is under a mask."""
    if not _float(other):
        return value
    return standins.carried(value, standins.carried(mask.to(other.dtype), truth.to(other.dtype)) * other)


@_operator("choice(Tensor value, Tensor truth, Tensor a, Tensor b) -> Tensor")
def _choice(value: Tensor, truth: Tensor, a: Tensor, b: Tensor) -> Tensor:
    fits = _float(value) and all(one.dim() > 0 or bool(torch.isfinite(one)) for one in (a, b))  # minus infinity masks
    return standins.choice(value, truth.to(value.dtype), a, b) if fits else value
