"""Attacks as loops by hand: no slots, no judge, no budgets. What they take is the least that the engine could."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Logits = Callable[[Tensor], Tensor]


def bare(logits: Logits, x: Tensor, steps: int) -> None:
    """Forwards and backwards [N, *shape] alone."""
    for _ in range(steps):
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(logits(leaf).sum(), leaf)


def _slope(logits: Logits, point: Tensor, y: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Cross-entropy [N] and its gradient, and whether the loop goes on: all is finite, and something stands."""
    leaf = point.detach().requires_grad_()
    scores = logits(leaf)
    loss = F.cross_entropy(scores, y, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    goes_on = gradient.sum().isfinite() & (scores.argmax(1) == y).any()
    return loss.detach(), gradient, bool(goes_on)


def pgd(logits: Logits, x: Tensor, y: Tensor, eps: float, steps: int) -> None:
    """Sign steps in the L-infinity ball and the box (Madry et al. 2018, eq. 3)."""
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    point = x.clone()
    for _ in range(steps):
        _, gradient, goes_on = _slope(logits, point, y)
        if not goes_on:
            return
        moved = torch.add(point, gradient.sign_(), alpha=2.5 * eps / steps)
        point = torch.clamp(moved, low, high, out=moved)


def apgd(logits: Logits, x: Tensor, y: Tensor, eps: float, steps: int) -> None:
    """Auto-PGD in the L-infinity ball (Croce & Hein 2020, algorithm 1)."""
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    point = old = x.clone()
    best, best_slope = x.clone(), torch.zeros_like(x)
    best_loss = last = at_check = torch.full((len(x),), -torch.inf)
    size, halved = torch.full((len(x), 1, 1, 1), 2 * eps), torch.ones(len(x), dtype=torch.bool)
    improved, window, elapsed = torch.zeros(len(x)), max(int(0.22 * steps), 1), 0
    for step in range(steps):
        loss, gradient, goes_on = _slope(logits, point, y)
        if not goes_on:
            return
        better = (loss > best_loss).float().reshape(-1, 1, 1, 1)
        best.lerp_(point, better)
        best_slope.lerp_(gradient, better)
        best_loss = torch.maximum(loss, best_loss)
        improved += loss > last
        last, elapsed = loss, elapsed + 1
        if elapsed == window:
            stuck = (improved <= 0.75 * window) | (~halved & (at_check >= best_loss))
            back = stuck.nonzero()[:, 0]
            size[back] /= 2
            point, gradient = point.index_copy(0, back, best[back]), gradient.index_copy(0, back, best_slope[back])
            halved, at_check, improved, elapsed = stuck, best_loss, torch.zeros(len(x)), 0
            window = max(window - max(int(0.03 * steps), 1), int(0.06 * steps), 1)
        z = torch.addcmul(point, gradient.sign_(), size)
        torch.clamp(z, low, high, out=z)
        if step:
            z = z.mul_(0.75).add_(point, alpha=0.5).sub_(old, alpha=0.25)
            torch.clamp(z, low, high, out=z)
        point, old = z, point
