"""Answers requests that want the gradient at some of a slot's points only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Logits, Request

__all__ = ["partly"]


def partly(request: Gradient, problem: Problem, ask: Callable[[Request], Answer]) -> Answer:
    """The first ``request.plain`` points of each slot for logits and loss, the others for the gradient too.

    The split is by position and not by slot, so that no device has to be waited for.

    Args:
        request: of several points a slot, with one loss.
        problem: the slots.
        ask: answers a request; called twice.
    """
    assert callable(request.loss), "one loss for all slots"
    cut, rows = request.plain, request.rows
    front = Logits(request.points[:, :cut], None if rows is None else rows[:, :cut], request.model, how=request.how)
    back = dataclasses.replace(
        request, points=request.points[:, cut:], rows=None if rows is None else rows[:, cut:], plain=0
    )
    first, last = ask(front), ask(back)
    assert first.logits is not None
    target_class = problem.target_class if request.target_class is None else request.target_class
    loss = request.loss(
        first.logits.flatten(0, 1), problem.label.repeat_interleave(cut), target_class.repeat_interleave(cut)
    ).reshape(len(problem), cut)
    first = dataclasses.replace(first, loss=loss, gradient=torch.zeros_like(first.points), steep=torch.zeros_like(loss))
    joined: dict[str, Tensor] = {
        name: torch.cat([value, getattr(last, name)], 1) for name, value in vars(first).items() if value is not None
    }
    return Answer(**joined)
