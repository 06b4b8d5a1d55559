"""The batch size with the best throughput, measured on the model itself."""

from __future__ import annotations

import time

import torch

from robaudit.engine.oracle import Oracle, Purpose

__all__ = ["measure_batch"]

SIZES_CPU = (8, 16, 32, 64, 128)
SIZES_GPU = (32, 64, 128, 256, 512, 1024)
WORTH = 0.95
"""A larger batch is taken only if it needs less than this share of the time for each input."""
SECONDS = 4.0
ROW_BYTES = 512 * 2**20
"""Most memory of the inputs alone."""


def measure_batch(oracle: Oracle, sample: torch.Tensor, *, gradient: bool) -> int:
    """Double the batch as long as that pays.

    Args:
        oracle: asks the model.
        sample: [*shape] in u-space.
        gradient: measure forward and backward of the twin, else scores of the file.

    Returns:
        Rows of one model call, at least 1.
    """
    best, best_cost = 1, float("inf")
    limit = max(1, ROW_BYTES // max(1, sample.numel() * sample.element_size()))
    end = time.perf_counter() + SECONDS
    for size in SIZES_GPU if oracle.device.type == "cuda" else SIZES_CPU:
        if size > limit:
            break
        batch = sample.expand(size, *sample.shape).to(oracle.device).contiguous()
        try:
            cost = min(_cost(oracle, batch, gradient=gradient) for _ in range(3)) / size
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if cost > WORTH * best_cost:
            break
        best, best_cost = size, cost
        if time.perf_counter() > end:
            break
    return best


def _cost(oracle: Oracle, batch: torch.Tensor, *, gradient: bool) -> float:
    start = time.perf_counter()
    if gradient:
        points = batch.detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.grad(oracle.differentiable().logits(points).sum(), points)
        if oracle.device.type == "cuda":
            torch.cuda.synchronize(oracle.device)
    else:
        oracle.ask(batch, Purpose.MEASURE)
    return time.perf_counter() - start
