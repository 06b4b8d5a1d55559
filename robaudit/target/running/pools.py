"""The largest of each window: what torch's own function gives, in a third to a quarter of its time on a CPU.

Torch looks at windows of channels that lie apart one number after the other, and of channels that lie side by side
many numbers at once: to bring them there and back is the smaller part.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from robaudit.target.running.plain import is_plain, recorded

__all__ = ["fills", "max_pool2d", "shared_max_pool2d"]

_CHANNELS = 8
"""Fewest channels with which it pays."""
_Sizes = list[int] | tuple[int, ...]


class _Pooled(torch.autograd.Function):
    """The largest of each window, and where they are for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *how: Any) -> Tensor:
        beside = x.detach().contiguous(memory_format=torch.channels_last)
        value, place = torch.ops.aten.max_pool2d_with_indices(beside, *how)
        if x.requires_grad:
            ctx.how = how
            ctx.save_for_backward(x, place.contiguous())
        found: Tensor = value.contiguous()
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, place = ctx.saved_tensors
        back = torch.ops.aten.max_pool2d_with_indices_backward(gradients[0].contiguous(), x, *ctx.how, place)
        return back, *[None] * len(ctx.how)


class _Shared(torch.autograd.Function):
    """A maximum whose gradient goes to the maximum in one share, and to all values of the window alike in the other."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, place: Tensor, share: float, *how: Any) -> Tensor:
        ctx.how, ctx.share = how, share
        ctx.save_for_backward(x, place)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, place = ctx.saved_tensors
        (kernel, stride, padding, ceil), gradient = ctx.how, gradients[0].contiguous()
        largest = gradient * (1 - ctx.share)
        back = torch.ops.aten.max_pool2d_with_indices_backward(largest, x, kernel, stride, padding, [1, 1], ceil, place)
        if not any(padding) and [*kernel] == [*stride] and fills(gradient, x, kernel):
            each = gradient * (ctx.share / math.prod(kernel))
            for i, j in itertools.product(*map(range, kernel)):  # a fraction of the time of torch's own
                back[:, :, i :: kernel[0], j :: kernel[1]].add_(each)
        else:
            mean = torch.ops.aten.avg_pool2d_backward
            back += mean(gradient * ctx.share, x, kernel, stride, padding, ceil, False, None)
        return None, back, *[None] * (2 + len(ctx.how))


def fills(value: Tensor, x: Tensor, kernel: _Sizes) -> bool:
    """Whether windows side by side leave nothing out."""
    sizes = zip(value.shape[-len(kernel) :], kernel, x.shape[-len(kernel) :], strict=True)
    return all(count * size == whole for count, size, whole in sizes)


def shared_max_pool2d(
    value: Tensor,
    x: Tensor,
    share: float,
    kernel: _Sizes,
    stride: _Sizes,
    padding: _Sizes,
    ceil: bool,  # noqa: FBT001
) -> Tensor | None:
    """A maximum with part of its gradient for all values of the window; None where its places are not to be had.

    Args:
        value: [N, C, ...] what a function of torch's or :func:`max_pool2d` found of x.
        x: [N, C, H, W].
        share: of the gradient, for all values.
        kernel: sizes of the window; ``stride`` and ``padding``: likewise.
        stride: between windows.
        padding: at both ends.
        ceil: whether windows may go over the end.
    """
    node: Any = value.grad_fn
    if type(node) is getattr(_Pooled, "_backward_cls", None):
        of, place = node.saved_tensors
    elif type(node).__name__ == "MaxPool2DWithIndicesBackward0":
        of, place = node._saved_self, node._saved_result1
    else:
        return None
    same = of.data_ptr() == x.data_ptr() and of.shape == x.shape  # not of a padded copy
    if not (same and x.is_contiguous() and place.is_contiguous() and place.shape == value.shape):
        return None
    found: Tensor = _Shared.apply(value.detach(), x, place, share, kernel, stride, padding, ceil)  # type: ignore[no-untyped-call]
    return found


@recorded
def max_pool2d(
    x: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes,
    padding: _Sizes,
    dilation: _Sizes,
    ceil_mode: bool,  # noqa: FBT001
) -> Tensor:
    """As ``torch.max_pool2d``, [N, C, H, W] to [N, C, ...]."""
    how = (kernel_size, stride, padding, dilation, ceil_mode)
    if x.dim() == 4 and x.shape[1] >= _CHANNELS and x.device.type == "cpu" and is_plain(x) and x.is_contiguous():
        found: Tensor = _Pooled.apply(x, *how)  # type: ignore[no-untyped-call]
        return found
    return torch.max_pool2d(x, *how)
