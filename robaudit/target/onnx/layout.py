"""How convolution weights lie in memory: channels first, as files have them, or channels last where that is faster.

Torch keeps the order of the weights in what a convolution returns, so that nothing else changes. It changes rounding
and no more; which is faster depends on the graph, the processor and torch's version, hence it is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Layout = Literal["channels first", "channels last"]

BUDGET = 1.0
"""Seconds of trial, the first run each way not counted."""
_WORTH = 0.95
"""Share of the time that channels last must save at most to leave; noise must not choose."""
_LARGE = 100_000
"""Numbers in weights below which a network is too small for the order to matter."""
_FORMATS: dict[Layout, torch.memory_format] = {
    "channels first": torch.contiguous_format,
    "channels last": torch.channels_last,
}


def choose(weights: Sequence[Tensor], run: Callable[[Tensor], Tensor], x: Tensor) -> Layout:
    """Try both orders of convolution weights on these inputs, forward and backward, and keep the faster one.

    Weights in float64 stay as they are: whoever computes in it wants results that repeat to the last bit.
    """
    layouts: tuple[Layout, ...] = ("channels first", "channels last")
    wide = any(weight.dtype == torch.float64 for weight in weights)
    if wide or sum(weight.numel() for weight in weights) < _LARGE:
        return layouts[0]
    best = dict.fromkeys(layouts, float("inf"))
    started, rounds = 0.0, 0
    while rounds < 2 or (rounds < 6 and time.perf_counter() - started < BUDGET):
        for layout in layouts:
            arrange(weights, layout)
            seconds = _seconds(run, x)
            if rounds:  # the first run also allocates and prepares
                best[layout] = min(best[layout], seconds)
        started, rounds = started or time.perf_counter(), rounds + 1
    chosen: Layout = "channels last" if best["channels last"] < _WORTH * best["channels first"] else "channels first"
    arrange(weights, chosen)
    return chosen


def arrange(weights: Sequence[Tensor], layout: Layout) -> None:
    """Bring weights into an order, in place: programs that hold them need not know."""
    with torch.inference_mode(False), torch.no_grad():
        for weight in weights:
            weight.data = weight.data.contiguous(memory_format=_FORMATS[layout])


def _seconds(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone()
        leaf.requires_grad_(leaf.is_floating_point())
        _wait(x.device)
        started = time.perf_counter()
        scores = run(leaf)
        if scores.requires_grad:
            torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
        _wait(x.device)
        return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
