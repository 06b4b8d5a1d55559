"""Smooth functions that stand for operators on the way back; values stay what the operators gave.

A ReLU that is off, a clip that is past its end, a maximum and a comparison tell nothing of what a larger step would do.
On the way back each is replaced by a smooth function of the same shape, whose width is a share of how much the
operator's input varies over the features of that very sample. It is BPDA (Athalye, Carlini, Wagner 2018, "Obfuscated
Gradients Give a False Sense of Security", section 4.1) with a stand-in for each operator. Xie, Tan, Gong, Yuille, Le
2020, "Smooth Adversarial Training", smooth activations in training; here the model is as it was.

Tensors are [N, ...], samples first. Every function of a ``value`` returns that value, of the same shape as what stands
for it, with another gradient; its own is dropped, but for the pools'. A program of an ONNX graph records each as one
call, so that what is needed for the gradient alone is not computed without one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.running.plain import is_plain, recorded
from robaudit.target.running.pools import fills, shared_max_pool2d

__all__ = [
    "absolute",
    "carried",
    "choice",
    "clipped",
    "exceeds",
    "extreme",
    "hard_swish",
    "pooled",
    "pooled_to",
    "ramp",
    "sign",
    "spread",
]

Number = float | Tensor
_NARROWEST = 1e-12
_STEEP = 20.0
"""Where the logistic function is 1 in float32."""
_NEAR = 1e-3
"""Share of the mean square below which a variance is no difference of two sums: it would be rounding."""


class _Bent(torch.autograd.Function):
    """The value, whose gradient goes to x, times a slope."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, slope: Tensor | None) -> Tensor:
        ctx.save_for_backward(slope)
        return value.detach()  # no view in autograd's eyes, so that it may be changed in place

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return None, gradients[0] if slope is None else gradients[0] * slope, None


class _Gated(torch.autograd.Function):
    """The value, whose gradient goes to x, times the logistic function of z."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        return None, torch.ops.aten.softplus_backward(gradients[0], z, 1, _STEEP), None


class _Pooled(torch.autograd.Function):
    """A maximum whose gradient goes to the maximum in one share and by ``back`` to x in the other."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, share: float, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.share, ctx.back = share, back
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0]
        return gradient * (1 - ctx.share), ctx.back(gradient * ctx.share), None, None


def _needless(value: Tensor, x: Tensor) -> bool:
    """Whether there will be no gradient. Inside of a transform that does not show."""
    return not torch.is_grad_enabled() or (is_plain(value) and is_plain(x) and not x.requires_grad)


def _bent(value: Tensor, x: Tensor, slope: Tensor | None) -> Tensor:
    if is_plain(value) and is_plain(x):
        bent: Tensor = _Bent.apply(value, x, slope)  # type: ignore[no-untyped-call]
        return bent
    return _written(value.detach(), x if slope is None else slope * x)


def _mixed(value: Tensor, x: Tensor, share: float, back: Callable[[Tensor], Tensor]) -> Tensor:
    mixed: Tensor = _Pooled.apply(value, x, share, back)  # type: ignore[no-untyped-call]
    return mixed


def _written(value: Tensor, path: Tensor) -> Tensor:
    """The same of ordinary operations, for transforms of functions; what is added to the value is zero exactly."""
    largest = torch.finfo(path.dtype).max
    path = torch.clamp(path, -largest, largest)  # infinity minus infinity is not zero
    return value + (path - path.detach()).to(value.dtype)


def spread(x: Tensor, width: float) -> Tensor:
    """[N, 1, ...] a positive width for each sample of [N, ...]: a share of the deviation over its features."""
    still = x.detach()
    features = list(range(1, still.dim()))
    least = max(_NARROWEST, torch.finfo(x.dtype).tiny)
    if not features:
        return torch.clamp_min(still.abs().nan_to_num(0.0, 0.0, 0.0) * width, least)
    # An order of magnitude faster on a CPU than torch.std.
    size = max(1, math.prod(still.shape[1:]))
    width /= math.sqrt(size)
    mean = torch.mean(still, features, keepdim=True)
    clear: Tensor | None = None
    if still.device.type == "cpu" and is_plain(still):  # on a GPU, to look is to wait
        square = torch.linalg.vector_norm(still, dim=features, keepdim=True).square_()
        around = torch.addcmul(square, mean, mean, value=-size)
        share, around = around / square, around.sqrt_()
        if float(share.amin()) >= _NEAR:  # NaN is not
            return around.mul_(width).clamp_min_(least)
        clear = share >= _NEAR
    deviation = torch.linalg.vector_norm(still - mean, dim=features, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    if clear is not None:  # a sample's width is its own, whatever stands beside it
        deviation = torch.where(clear, around, deviation)
    return torch.clamp_min(deviation * width, least)


def _gate(x: Tensor, s: Tensor) -> Tensor:
    """The derivative of a smooth max(x, 0): it rises from 0 to 1 over a few s."""
    return (x.detach() / s).sigmoid_()


def _slope(value: Tensor, x: Tensor, find: Callable[[], Tensor]) -> Tensor:
    return value.detach() if _needless(value, x) else _bent(value, x, find())


@recorded
def carried(value: Tensor, path: Tensor) -> Tensor:
    """The value with the gradient of a path."""
    return value.detach() if _needless(value, path) else _bent(value, path.to(value.dtype), None)


@recorded
def ramp(value: Tensor, x: Tensor, width: float, below: float = 0.0) -> Tensor:
    """max(x, 0), whose slope below zero may be another than 0."""

    if not below and is_plain(value) and is_plain(x) and not _needless(value, x):
        gated: Tensor = _Gated.apply(value, x, x.detach() / spread(x, width))  # type: ignore[no-untyped-call]
        return gated

    def slope() -> Tensor:
        gate = _gate(x, spread(x, width))
        return gate.mul_(1 - below).add_(below) if below else gate

    return _slope(value, x, slope)


@recorded
def clipped(value: Tensor, x: Tensor, low: Number | None, high: Number | None, width: float) -> Tensor:
    """x kept between two ends, of which one may be missing."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _clipped(value, x, low, high, width)

    def slope() -> Tensor:
        s = spread(x, width)
        if low is None:
            return x.detach().new_ones(()) if high is None else _gate(high - x.detach(), s)
        above = _gate(x.detach() - low, s)
        return above if high is None else above.sub_(_gate(x.detach() - high, s))

    return _slope(value, x, slope)


def _clipped(value: Tensor, x: Tensor, low: Number | None, high: Number | None, width: float) -> Tensor:
    """The same where the ends are computed, and have a gradient of their own."""
    s = spread(x, width)
    path = x if low is None else low + _rise(x - low, s)
    return carried(value, path if high is None else path - _rise(x - high, s))


@recorded
def absolute(value: Tensor, x: Tensor, width: float) -> Tensor:
    """x without its sign."""
    return _slope(value, x, lambda: _gate(x, spread(x, width)).mul_(2).sub_(1))


@recorded
def sign(value: Tensor, x: Tensor, width: float) -> Tensor:
    """The sign of x, which becomes tanh."""

    def slope() -> Tensor:
        s = spread(x, width)
        return (1 - torch.tanh(x.detach() / s).square_()) / s

    return _slope(value, x, slope)


@recorded
def hard_swish(value: Tensor, x: Tensor, width: float) -> Tensor:
    """x times x / 6 + 1/2 kept between 0 and 1 (Howard et al. 2019, "Searching for MobileNetV3", section 5.2)."""

    def slope() -> Tensor:
        s, still = spread(x, width), x.detach()
        rise = _gate(still + 3, s).sub_(_gate(still - 3, s))
        return torch.clamp(still / 6 + 0.5, 0.0, 1.0) + rise.mul_(still / 6)

    return _slope(value, x, slope)


def _rise(x: Tensor, s: Tensor) -> Tensor:
    """What has the gradient of a smooth max(x, 0), and no value of its own."""
    return _bent(x, x, _gate(x, s))


@recorded
def extreme(value: Tensor, a: Tensor, b: Tensor, width: float, largest: bool) -> Tensor:  # noqa: FBT001
    """The larger, or smaller, of two."""
    if _needless(value, a) and _needless(value, b):
        return value.detach()
    gap = a - b if largest else b - a
    rise = _rise(gap, spread(gap, width))
    return carried(value, b + rise if largest else b - rise)


@recorded
def exceeds(a: Tensor, b: Number, width: float) -> Tensor:
    """How true a > b is, between 0 and 1."""
    gap = a - b
    return torch.sigmoid(gap / spread(gap, width))


@recorded
def choice(value: Tensor, truth: Tensor, a: Number, b: Number) -> Tensor:
    """a where something is true, else b; ``truth``: how true it is, between 0 and 1."""
    return carried(value, truth * a + (1 - truth) * b)


@recorded
def pooled(
    value: Tensor,
    x: Tensor,
    share: float,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil: bool,  # noqa: FBT001
) -> Tensor:
    """The largest of each window, whose gradient goes in a share to all of its values alike.

    Args:
        value: [N, C, ...], with the gradient of the largest.
        x: [N, C, ...].
        share: between 0 and 1.
        kernel: sizes of the window, one for each of one to three places; ``stride`` and ``padding``: likewise.
        stride: between windows.
        padding: at both ends of each place.
        ceil: whether windows may go over the end.
    """
    if _needless(value, x):
        return value.detach()
    given, rest = (kernel, stride, padding), (ceil, False)
    if not (is_plain(value) and is_plain(x)):
        average = _AVERAGES[len(kernel)](x, *given, *rest)
        return _written(value.detach(), (1 - share) * value + share * average)
    if len(kernel) == 2 and x.dim() == 4:
        shared = shared_max_pool2d(value, x, share, kernel, stride, padding, ceil)
        if shared is not None:
            return shared
    if kernel == stride and not any(padding) and fills(value, x, kernel):
        return _mixed(value, x, share, partial(_spread_out, kernel=kernel))
    flat = len(kernel) == 1
    still = _lifted(x.detach()) if flat else x.detach()
    windows = ([1, *kernel], [1, *stride], [0, *padding]) if flat else given
    back = torch.ops.aten.avg_pool3d_backward if len(kernel) == 3 else torch.ops.aten.avg_pool2d_backward

    def averaged(gradient: Tensor) -> Tensor:
        found: Tensor = back(_lifted(gradient) if flat else gradient, still, *windows, *rest, None)
        return found.squeeze(-2) if flat else found

    return _mixed(value, x, share, averaged)


def _spread_out(gradient: Tensor, kernel: list[int]) -> Tensor:
    """The gradient of the mean of windows side by side, in a quarter of the time of torch's own."""
    share, rank = gradient / math.prod(kernel), len(kernel)
    sizes = [size for pair in zip(share.shape[-rank:], kernel, strict=True) for size in pair]
    found = share.new_empty(*share.shape[:-rank], *sizes)
    places = found.movedim([2 * i + 1 - 2 * rank for i in range(rank)], list(range(rank)))
    for place in itertools.product(*map(range, kernel)):
        places[place].copy_(share)
    return found.reshape(*share.shape[:-rank], *[n * k for n, k in zip(share.shape[-rank:], kernel, strict=True)])


@recorded
def pooled_to(value: Tensor, x: Tensor, share: float, places: int) -> Tensor:
    """The same of windows that share out the last ``places`` dimensions among so many as the value has."""
    if _needless(value, x):
        return value.detach()
    sizes, among = list(value.shape[-places:]), list(range(-places, 0))
    whole = all(size == 1 for size in sizes)
    if not (is_plain(value) and is_plain(x)):
        average = torch.mean(x, among, keepdim=True) if whole else _ADAPTIVE[places](x, sizes)
        return _written(value.detach(), (1 - share) * value + share * average)
    flat, shape = places == 1, x.shape
    still = _lifted(x.detach()) if flat else x.detach()
    fit: Any = (
        torch.ops.aten._adaptive_avg_pool3d_backward if places == 3 else torch.ops.aten._adaptive_avg_pool2d_backward
    )

    def averaged(gradient: Tensor) -> Tensor:
        if whole:
            return (gradient / math.prod(shape[-places:])).expand(shape)
        found: Tensor = fit(_lifted(gradient) if flat else gradient, still)
        return found.squeeze(-2) if flat else found

    return _mixed(value, x, share, averaged)


def _lifted(x: Tensor) -> Tensor:
    """A row as an image of one row."""
    return x.unsqueeze(-2)


_AVERAGES: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
