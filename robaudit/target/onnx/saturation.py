"""Rounding into the range of an integer type, the one step that every quantiser takes.

A network between quantisers takes it hundreds of times, on all that it computes: written out, each saves a copy of
its input for the way back and passes over memory six times. Here a bit that says where the gradient goes through is
all that is saved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function, has_torch_function_unary

from robaudit.target.running.plain import is_plain


def saturated(ratio: Tensor, shift: float, low: float, high: float, least: float, most: float) -> Tensor:
    """The nearest whole numbers, half to even, plus ``shift``, kept in [low, high].

    The gradient is that of the identity where ``ratio`` is in [least, most], else zero. A program records it as one
    call. Where torch looks inside (vmap, compilers, tracers), it is made of ordinary operations.
    """
    if has_torch_function_unary(ratio):
        result: Tensor = handle_torch_function(saturated, (ratio,), ratio, shift, low, high, least, most)
        return result
    if not is_plain(ratio):
        # Inside a transform, whether there is a gradient does not show.
        value = torch.round(ratio.detach())
        path = torch.clamp(ratio, least, most)
        return torch.clamp(value + shift if shift else value, low, high) + (path - path.detach())
    if not ratio.requires_grad or not torch.is_grad_enabled():
        return _value(ratio, shift, low, high)
    applied: Tensor = _Saturated.apply(ratio, shift, low, high, least, most)  # type: ignore[no-untyped-call]
    return applied


def replaced(value: Tensor, path: Tensor, least: float, most: float) -> Tensor:
    """The value, with the gradient of ``path`` where that is in [least, most], else zero.

    Recorded and made of ordinary operations as :func:`saturated`.
    """
    if has_torch_function((value, path)):
        result: Tensor = handle_torch_function(replaced, (value, path), value, path, least, most)
        return result
    if not is_plain(path) or not is_plain(value):
        path = torch.clamp(path, least, most)
        return value + (path - path.detach()).to(value.dtype)  # plus zero exactly
    if not path.requires_grad or not torch.is_grad_enabled():
        return value.view_as(value)  # not itself, which the recorder would take for no call at all
    applied: Tensor = _Replaced.apply(value, path, least, most)  # type: ignore[no-untyped-call]
    return applied


def _value(ratio: Tensor, shift: float, low: float, high: float) -> Tensor:
    value = torch.round(ratio)
    if shift:
        value = value.add_(shift)
    return value.clamp_(low, high)


class _Saturated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ratio: Tensor, shift: float, low: float, high: float, least: float, most: float) -> Tensor:
        ctx.save_for_backward(_inside(ratio, least, most))
        return _value(ratio, shift, low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None, None, None


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor, least: float, most: float) -> Tensor:
        ctx.save_for_backward(_inside(path, least, most))
        ctx.dtype = path.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return None, gradients[0].to(ctx.dtype) * inside, None, None


def _inside(x: Tensor, least: float, most: float) -> Tensor:
    """Bytes, 1 where x is in [least, most]. To compare in place gives floats, which is quicker than bits."""
    return torch.clamp(x, least, most).eq_(x).to(torch.uint8)
