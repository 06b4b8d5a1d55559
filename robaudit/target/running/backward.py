"""Tells the watch of the way back through a model, whoever asks for a gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.target.running.watch import Watch

__all__ = ["watched"]


def watched(watch: Watch, kind: object, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """What a model gives for x, each backward pass from there to x being told to the watch.

    Args:
        watch: to tell.
        kind: of the calls that ``run`` makes.
        x: [N, ...] inputs.
        run: the model, differentiable.
    """
    if not (watch.looks and x.requires_grad and torch.is_grad_enabled()):
        return run(x)
    rows = len(x)
    x = x.view_as(x)  # of its own, as members of an ensemble share the input
    x.register_hook(lambda _: watch.end_backward())  # type: ignore[no-untyped-call]
    result = run(x)
    if result.requires_grad:
        result.register_hook(lambda _: watch.begin_backward(rows, kind))  # type: ignore[no-untyped-call]
    return result
