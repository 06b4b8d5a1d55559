"""The loop that trains a surrogate's network: Adam on a falling rate, batches in an order that a seed gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["agreement", "imitate", "log_probabilities", "train"]

BATCH = 64
RATE = 2e-3
DECAY = 1e-4
PATIENCE = 8
"""Epochs without a fall of the loss by a hundredth, after which training ends."""


def log_probabilities(scores: Tensor, kind: str) -> Tensor:
    """[N, K] logarithms of probabilities, of scores that are logits, probabilities or their logarithms."""
    if kind == "probabilities":
        return scores.clamp_min(1e-7).log().log_softmax(1)
    return scores.clamp_min(-1e4).log_softmax(1)


def imitate(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of distillation: the divergence of the softened probabilities (Hinton et al. 2015, section 2)."""

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        soft = (wanted / temperature).softmax(1)
        return F.kl_div((logits / temperature).log_softmax(1), soft, reduction="batchmean") * temperature**2

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
