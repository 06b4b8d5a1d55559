"""The loop that trains a surrogate's network: Adam on a falling rate, batches in an order that a seed gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robaudit.threat.masked import MASK

__all__ = ["agreement", "imitate", "logits_of", "size_of", "train"]

BATCH = 32
RATE = 2e-3
DECAY = 1e-4
PATIENCE = 8
"""Epochs without a fall of the loss by a hundredth, after which training ends."""
LEAST = 1e-7
"""Probability below which scores say nothing more."""


def logits_of(scores: Tensor, kind: str) -> Tensor:
    """[N, K] logits of mean 0 that scores say, of any kind; a row that says nothing stays without a finite number.

    Args:
        scores: [N, K]; a class that is masked is put level with the lowest of the others.
        kind: logits, probabilities or their logarithms, sigmoids.
    """
    found = scores.double()
    if kind == "probabilities":
        found = found.clamp_min(LEAST).log()
    elif kind == "sigmoids":
        found = found.clamp(LEAST, 1 - LEAST).logit()
    elif kind == "log-probabilities":
        found = found.clamp_min(4 * math.log(LEAST))
    high = found.topk(min(2, found.shape[1]), dim=1).values.abs().amax(1, keepdim=True)
    masked = found < -MASK * high.clamp_min(1.0)
    lowest = found.masked_fill(masked, math.inf).amin(1, keepdim=True)
    found = torch.where(masked, lowest, found)
    return (found - found.mean(1, keepdim=True)).float()


def size_of(logits: Tensor) -> float:
    """The root mean square of logits [N, K] of mean 0, 1 where there is none."""
    size = float(logits.double().square().mean().sqrt()) if len(logits) else 0.0
    return size if size > 0 else 1.0


def imitate(size: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean square of what lies between logits, up to what is added to all classes, in a unit.

    Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", equation 1, the limit of distillation at a high
    temperature (Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.1).
    """

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        return ((logits - logits.mean(1, keepdim=True) - wanted) / size).square().mean()

    return loss


def train(
    network: nn.Module,
    points: Tensor,
    wanted: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    seed: int,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Train a network in place.

    Args:
        network: from [N, *shape] to [N, K].
        points: [N, *shape] float32.
        wanted: [N, ...] what the loss is told beside the logits.
        loss: of a batch.
        epochs: at most; the rate falls to 0 along half a cosine over them.
        seed: of the order of batches.
        stop: called before each epoch; whatever it raises ends the training.
    """
    network.train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    best, since = math.inf, 0
    for epoch in range(epochs):
        stop()
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        order = torch.randperm(len(points), generator=generator).to(points.device)
        total = 0.0
        for batch in torch.split(order, BATCH):
            optimiser.zero_grad(set_to_none=True)
            value = loss(network(points[batch]), wanted[batch])
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(value.detach()) * len(batch)
        since = 0 if total < 0.99 * best else since + 1
        best = min(best, total)
        if since >= PATIENCE:
            break
    network.eval()


def agreement(network: nn.Module, points: Tensor, labels: Tensor) -> int:
    """How many of the points [N, *shape] get these classes [N]."""
    with torch.no_grad():
        found = [network(part).argmax(1) for part in torch.split(points, 256)]
    return int((torch.cat(found) == labels).sum()) if found else 0
