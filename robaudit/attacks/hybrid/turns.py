"""Gradients of surrogates and queries of the target in turn, slot by slot."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks.requests import Gradient, ModelRef, Request
from robaudit.threat.losses import Loss

__all__ = ["gradient_or"]


def gradient_or(
    points: Tensor,
    needs: Tensor,
    loss: Loss,
    query: Callable[[Tensor], Request],
    target_class: Tensor | None = None,
) -> Request:
    """The surrogates' gradient for the slots that need one, or where none does, a query.

    A slot whose turn it is not finds its answer unanswered, and asks again. What fools a surrogate is no candidate.

    Args:
        points: [S, *shape] at which gradients are taken.
        needs: [S] bool, slots that need one before their next query.
        loss: whose gradient.
        query: makes the query of all slots, given which are to be asked, [S] bool.
        target_class: [S] int64 that the loss is given.
    """
    if not bool(needs.any()):
        return query(~needs)
    none = torch.zeros_like(needs)
    return Gradient(
        points, rows=needs, model=ModelRef.SURROGATES, candidates=none, loss=loss, target_class=target_class
    )
