"""How each call of a program carries bounds; one that is not listed here is unknown, and nothing is proved through it.

``roundoff`` bounds the relative error of one operation of the file. Sums are bounded in any order: a sum of n products
errs by at most about n times that, relative to the sum of their sizes (Higham 2002, "Accuracy and Stability of
Numerical Algorithms", section 3.1). Twice as much is allowed for, which covers batch norms and factors that a runtime
multiplies into weights, and the rounding of these bounds themselves.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robaudit.certificates.intervals.calls import Call, UnknownCallError
from robaudit.certificates.intervals.values import TINY, Bounds, Spread, meet
from robaudit.threat.norms import Norm

__all__ = ["AFFINE", "bounds_of"]

FUSED = 8
"""Operations that a runtime may merge into a sum of products besides its own."""
SMOOTH = 1e-5
"""Error of a runtime's exponentials, absolute and relative; theirs are a hundredth of it."""
REORDERED = {"reshape", "flatten", "transpose", "permute", "squeeze", "unsqueeze", "contiguous", "view", "t"}
"""Each number of the result is one of the value, and each comes once."""
MOVED = REORDERED | {"getitem", "narrow", "select", "pad", "broadcast_to", "expand", "cat", "stack", "flip"}
ENDS = {"relu", "clamp", "hardtanh", "relu6", "leaky_relu", "prelu", "threshold", "maximum", "minimum", "amax", "amin"}
POOLS = {f"max_pool{rank}d" for rank in (1, 2, 3)}
SMOOTHS = {"sigmoid", "tanh", "elu", "celu", "softplus", "softsign", "hardsigmoid", "atan", "logsigmoid"}
MEANS = {"mean", "sum"} | {f"avg_pool{rank}d" for rank in (1, 2, 3)}
WEIGHTED = {"linear", "matmul"} | {f"conv{t}{rank}d" for t in ("", "_transpose") for rank in (1, 2, 3)}
SIGNED = {"add", "sub", "neg", "mul", "div"}
AFFINE = MOVED | MEANS | WEIGHTED | {"add", "sub", "neg", "batch_norm", "to"}
"""Calls that are affine in what they are given; so are products with constants."""


def bounds_of(call: Call, roundoff: float) -> Bounds:
    """What the result of a call can be.

    Raises:
        UnknownCallError: the call, or this form of it, is not known.
    """
    name, given = call.name, call.given
    if name in MOVED:
        return _moved(call)
    if name in ENDS or name in POOLS:
        return _ends(call, roundoff)
    if name in SMOOTHS:
        if name in ("elu", "celu") and call.argument(1, "alpha", 1.0) < 0:
            raise UnknownCallError(f"{name}, with a negative factor")
        (x,) = given
        low, high = call.at(x.low), call.at(x.high)
        return _rounded(low, high, SMOOTH * (1 + torch.maximum(low.abs(), high.abs())))
    if name in MEANS:
        return _mean(call, roundoff)
    if name in WEIGHTED:
        return _weighted(call, roundoff)
    if name in SIGNED:
        return _arithmetic(call, roundoff)
    if name == "batch_norm":
        return _batch_norm(call, roundoff)
    if name in ("abs", "to"):
        return _plain(call, roundoff)
    raise UnknownCallError(name)


def _rounded(low: Tensor, high: Tensor, slack: Tensor, spread: Spread | None = None) -> Bounds:
    slack = slack + TINY
    return Bounds(low - slack, high + slack, slack, spread)


def _exact(low: Tensor, high: Tensor, spread: Spread | None = None) -> Bounds:
    return Bounds(low, high, torch.zeros_like(low), spread)


def _moved(call: Call) -> Bounds:
    """Numbers that change their places."""
    given = call.given
    if call.name == "pad" and call.argument(2, "mode", "constant") != "constant":
        raise UnknownCallError("pad, with other numbers than constants")
    if call.name in ("cat", "stack") and any(isinstance(part, Tensor) for part in call.args[0]):
        parts = [_constant(part) if isinstance(part, Tensor) else part for part in call.args[0]]
        return _moved(replace(call, args=(parts, *call.args[1:])))
    low, high = call.at(*(x.low for x in given)), call.at(*(x.high for x in given))
    spread = given[0].spread if len(given) == 1 and call.name in REORDERED else None
    if spread is not None:
        centre, scale, slack = map(call.at, (spread.centre, spread.scale, spread.slack))
        spread = replace(spread, centre=centre, scale=scale, slack=slack)
    return _exact(low, high, spread)


def _constant(value: Tensor) -> Bounds:
    value = value.double()
    return _exact(value, value)


def _ends(call: Call, roundoff: float) -> Bounds:
    """A function that does not fall: its ends are those of what it is given, without rounding but for slopes."""
    given = call.given
    if call.name in POOLS and call.argument(6, "return_indices", False):
        raise UnknownCallError(f"{call.name}, with places")
    if call.name == "leaky_relu" and call.argument(1, "negative_slope", 0.01) < 0:
        raise UnknownCallError("leaky_relu, with a negative slope")
    if call.name == "prelu" and not (isinstance(call.args[1], Tensor) and bool((call.args[1] >= 0).all())):
        raise UnknownCallError("prelu, with a negative slope")
    if call.name == "threshold" and call.argument(2, "value") > call.argument(1, "threshold"):
        raise UnknownCallError("threshold, with a jump down")
    if call.name == "clamp" and len(given) > 1:
        raise UnknownCallError("clamp, with limits that depend on the input")
    low, high = call.at(*(x.low for x in given)), call.at(*(x.high for x in given))
    if call.name in ("leaky_relu", "prelu"):
        return _rounded(low, high, 4 * roundoff * torch.maximum(low.abs(), high.abs()))
    return _exact(low, high)


def _mean(call: Call, roundoff: float) -> Bounds:
    (x,) = call.given
    if call.kwargs.get("dtype") not in (None, torch.float64):
        raise UnknownCallError(f"{call.name}, in another type")
    low, high, size = call.at(x.low), call.at(x.high), call.at(x.size)
    kernel = call.argument(1, "kernel_size", 1) if "pool" in call.name else 1
    window = kernel ** int(call.name[-2]) if isinstance(kernel, int) and "pool" in call.name else kernel
    count = max(math.prod(window) if isinstance(window, list | tuple) else window, x.low.numel() // low.numel())
    return _rounded(low, high, 2 * (count + FUSED) * roundoff * size)


def _weighted(call: Call, roundoff: float) -> Bounds:
    """A matrix or a convolution with constants: the middle, and how far the rest can carry it (Gowal 2018, eq. 6)."""
    given = call.given
    if len(given) != 1:
        raise UnknownCallError(f"{call.name} of two values that depend on the input")
    (x,) = given
    place = next(i for i, arg in enumerate(call.args) if arg is x)
    other = 1 - place
    if place > 1 or (place == 1 and call.name != "matmul") or call.kwargs:
        raise UnknownCallError(f"{call.name}, with the input in another place")
    weight = call.args[other]
    bias = call.args[2] if len(call.args) > 2 and call.name != "matmul" else None
    if not isinstance(weight, Tensor):
        raise UnknownCallError(f"{call.name} without a constant weight")

    def with_weight(value: Tensor, weight: Tensor) -> Tensor:
        args = list(call.args)
        args[place], args[other] = value, weight
        if len(args) > 2 and call.name != "matmul":
            args[2] = None
        result: Tensor = call.run(*args)
        return result

    middle, radius, size = (x.low + x.high) / 2, (x.high - x.low) / 2, weight.abs()
    centre, reach = with_weight(middle, weight), with_weight(radius, size)
    largest = with_weight(x.size, size)
    if bias is not None:
        shift = _along_channels(bias, centre, call.name)
        centre, largest = centre + shift, largest + shift.abs()
    slack = 2 * (_products(call.name, weight, place) + FUSED) * roundoff * largest
    found = _rounded(centre - reach, centre + reach, slack)
    if x.spread is None or x.spread.norm is Norm.LINF:
        return found
    ball = x.spread
    middle = with_weight(ball.centre, weight)
    middle = middle if bias is None else middle + _along_channels(bias, middle, call.name)
    away = ball.eps * with_weight(ball.scale.square(), weight.square()).clamp_min(0).sqrt()
    if ball.norm is Norm.L1 and call.name == "linear":  # the dual norm of L1 is L∞, at most that of L2
        away = ball.eps * (weight.abs() * ball.scale.unsqueeze(-2)).amax(-1)
    away = away * (1 + 1e-9) + with_weight(ball.slack, size) + slack + TINY
    return meet(found, middle - away, middle + away)


def _products(name: str, weight: Tensor, place: int) -> int:
    """Products that are summed for one number of the result, at most."""
    if "transpose" in name or weight.dim() == 1:
        return weight.numel()
    return weight.shape[-1 if place else -2] if name == "matmul" else weight[0].numel()


def _along_channels(bias: Tensor, like: Tensor, name: str) -> Tensor:
    if name == "linear":
        return bias.expand_as(like)
    spatial = int(name[-2])
    return bias.reshape(-1, *[1] * spatial).expand_as(like)


def _arithmetic(call: Call, roundoff: float) -> Bounds:
    """Sums and differences of any two values, products and quotients with bounds and constants."""
    if call.kwargs.get("alpha", 1) != 1 or call.kwargs.get("rounding_mode") is not None:
        raise UnknownCallError(f"{call.name}, with a factor or rounding")
    if call.name == "neg":
        (x,) = call.given
        return _exact(-x.high, -x.low)
    first, second = call.args[:2]
    if call.name == "div" and isinstance(second, Bounds):
        raise UnknownCallError("div by a value that depends on the input")
    a, b = (part if isinstance(part, Bounds) else _number(part, call.given[0]) for part in (first, second))
    if call.name in ("add", "sub"):
        ends = (b.low, b.high) if call.name == "add" else (-b.high, -b.low)
        low, high = a.low + ends[0], a.high + ends[1]
        return _rounded(low, high, 4 * roundoff * (a.size + b.size), _shifted(call, first, second, roundoff))
    if call.name == "div":
        products = [a.low / b.low, a.high / b.low]
    else:
        products = [one * other for one in (a.low, a.high) for other in (b.low, b.high)]
    low, high = products[0], products[0]
    for product in products[1:]:
        low, high = torch.minimum(low, product), torch.maximum(high, product)
    slack = 4 * roundoff * torch.maximum(low.abs(), high.abs())
    return _rounded(low, high, slack, _shifted(call, first, second, roundoff))


def _number(value: Any, like: Bounds) -> Bounds:
    return _constant(torch.as_tensor(value, dtype=torch.float64, device=like.low.device))


def _shifted(call: Call, first: Any, second: Any, roundoff: float) -> Spread | None:
    """A spread moved or scaled by constants that do not repeat it."""
    if len(call.given) != 1 or (spread := call.given[0].spread) is None:
        return None
    centre = call.at(spread.centre)
    if centre.shape != spread.centre.shape:
        return None
    zero = torch.zeros_like(spread.centre)
    scale = (call.at(spread.scale) - call.at(zero)).abs()
    slack = (call.at(spread.slack) - call.at(zero)).abs()
    size = centre.abs() + spread.eps * scale + call.at(zero).abs() + slack
    return replace(spread, centre=centre, scale=scale, slack=slack + 8 * roundoff * size + TINY)


def _batch_norm(call: Call, roundoff: float) -> Bounds:
    (x,) = call.given
    mean, variance, weight, bias, training = call.args[1:6]
    if training or not all(isinstance(part, Tensor) for part in (mean, variance)):
        raise UnknownCallError("batch_norm on the batch's own statistics")
    factor = torch.rsqrt(variance + call.argument(7, "eps")) * (1 if weight is None else weight)
    shape = (1, -1, *[1] * (x.low.dim() - 2))
    factor, mean = factor.reshape(shape), mean.reshape(shape)
    shift = torch.zeros_like(mean) if bias is None else bias.reshape(shape)
    ends = [(end - mean) * factor + shift for end in (x.low, x.high)]
    slack = 16 * roundoff * ((x.size + mean.abs()) * factor.abs() + shift.abs())
    return _rounded(torch.minimum(*ends), torch.maximum(*ends), slack)


def _plain(call: Call, roundoff: float) -> Bounds:
    (x,) = call.given
    if call.name == "to":
        kinds = [arg for arg in (*call.args[1:], *call.kwargs.values()) if isinstance(arg, torch.dtype)]
        if kinds not in ([torch.float64], [torch.float32]):
            raise UnknownCallError("to, another type")
        return _rounded(x.low, x.high, 4 * roundoff * x.size)
    low = torch.maximum(x.low, -x.high).clamp_min(0)
    return _exact(low, x.size)
