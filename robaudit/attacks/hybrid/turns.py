"""Gradients of surrogates and queries of the target in turn, slot by slot."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks.requests import TRUE, Gradient, How, ModelRef, Request
from robaudit.attacks.transforms.variance_reduction import VarianceReduction
from robaudit.threat.losses import Loss

__all__ = ["around", "gradient_or"]


def around(copies: int, noise: float) -> How:
    """Gradients that are means over copies of the points with Gaussian noise; one copy has none.

    A surrogate of another architecture has more in common with the target around a sample than at it.

    Args:
        copies: of a point, a gradient each.
        noise: standard deviation, as a share of the domain's width.
    """
    if copies == 1:
        return TRUE
    return How((VarianceReduction(copies=copies, deviation=noise),))  # type: ignore[call-arg]


def gradient_or(
    points: Tensor,
    needs: Tensor,
    loss: Loss,
    query: Callable[[Tensor], Request],
    target_class: Tensor | None = None,
    how: How = TRUE,
    *,
    several: bool = False,
) -> Request:
    """The surrogates' gradient for the slots that need one, or where none does, a query.

    A slot whose turn it is not finds its answer unanswered, and asks again. What fools a surrogate is no candidate.

    Args:
        points: [S, *shape] at which gradients are taken, or [S, P, *shape] of several.
        needs: [S] bool, slots that need one before their next query.
        loss: whose gradient.
        query: makes the query of all slots, given which are to be asked, [S] bool.
        target_class: [S] int64 that the loss is given.
        how: the gradient is taken.
    """
    if not bool(needs.any()):
        return query(~needs)
    none = torch.zeros_like(needs)
    rows = needs[:, None].expand(points.shape[:2]) if several else needs
    return Gradient(
        points, rows=rows, model=ModelRef.SURROGATES, candidates=none, how=how, loss=loss, target_class=target_class
    )
