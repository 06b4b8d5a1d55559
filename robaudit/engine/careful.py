"""A model on whose way back 0 · ∞ is 0."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.engine.models import Differentiable

__all__ = ["Careful"]

ELEMENTWISE = frozenset(
    f"{name}Backward"
    for name in (
        *("Log1P", "Sqrt", "Rsqrt", "Pow", "Reciprocal", "Div", "Mul"),
        *("Acos", "Asin", "Acosh", "Atanh", "Logit", "Xlogy", "Erfinv"),
    )
)
"""Nodes of autograd that multiply each entry of what comes back by a slope of its own, which may be infinite."""
LOGARITHMS = frozenset({"LogBackward", "Log2Backward", "Log10Backward"})
"""The same, of numbers that may be too small for floats to hold their inverse: of probabilities that underflow."""


class Careful:
    """Another model, with the same answers.

    A score that a loss does not look at sends back 0, which the infinite slope of a root or a logarithm at 0 would turn
    into NaN, and with it the whole gradient. The slope of a logarithm is at most the largest that floats have.
    """

    def __init__(self, model: Differentiable) -> None:
        self._model = model

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        plain = getattr(torch.jit, "optimized_execution")  # noqa: B009  # not in torch's types
        with plain(False):  # an optimised graph hides its operators in one node
            logits = self._model.logits(u)
        seen, left = set(), [logits.grad_fn]
        while left:
            node = left.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            left += [following for following, _ in node.next_functions]
            name = node.name().rstrip("0123456789")
            if name in ELEMENTWISE:
                node.register_hook(_mended)
            elif name in LOGARITHMS:
                node.register_hook(_bounded)
        return logits


def _mended(slopes: tuple[Tensor | None, ...], given: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """What a node sends back, given what came to it: 0 wherever 0 came, unless it is summed over a dimension."""
    came = given[0]
    if came is None:
        return slopes

    def mended(slope: Tensor | None) -> Tensor | None:
        if slope is None or slope.shape != came.shape:
            return slope
        return slope.masked_fill((came == 0) & ~slope.isfinite(), 0.0)

    return tuple(map(mended, slopes))


def _bounded(slopes: tuple[Tensor | None, ...], given: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """As :func:`_mended`, and no slope above the inverse of the smallest normal number."""
    (slope,), came = _mended(slopes, given), given[0]
    if slope is None or came is None:
        return (slope,)
    limits = torch.finfo(slope.dtype)
    most = (came / limits.tiny).clamp(limits.min / 16, limits.max / 16)
    return (torch.where(slope.isinf(), most, slope),)
