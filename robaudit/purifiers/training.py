"""The loop that trains a purifier's network: epochs of batches in an order that a seed gives, a falling rate."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from robaudit.attacks.parameters import Count
from robaudit.errors import AuditError
from robaudit.purifiers.base import Lessons, PurifierRecipe, Schedule
from robaudit.purifiers.networks import ImageNetwork
from robaudit.threat.random import key_of

__all__ = ["Learner", "NetworkRecipe", "Plain", "seed_of"]

BATCH = 32
RATE = 1e-3


class Learner(Protocol):
    """Trains a network in place, batch by batch."""

    def step(self, clean: Tensor, generator: torch.Generator) -> float:
        """Learn from clean images [N, C, H, W]; the loss."""
        ...

    def slow(self, share: float) -> None:
        """Go on at this share of the first rate."""
        ...


class Plain:
    """One that minimises a loss with Adam.

    Args:
        network: trained in place.
        decay: of the weights.
    """

    def __init__(self, network: nn.Module, decay: float = 0.0) -> None:
        self.network = network
        self._optimiser = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=decay)

    def step(self, clean: Tensor, generator: torch.Generator) -> float:
        """One step down."""
        value = self.loss(clean, generator)
        self._optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(value.detach())

    def slow(self, share: float) -> None:
        """At the share of the rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = RATE * share

    @abstractmethod
    def loss(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Of clean images."""


class NetworkRecipe(PurifierRecipe):
    """A purifier that is a network; a subclass has the field ``epochs``."""

    epochs: Count

    @abstractmethod
    def network(self, shape: tuple[int, int, int], seed: int) -> ImageNetwork:
        """With fresh weights, for images [C, H, W]."""

    @abstractmethod
    def learner(self, network: ImageNetwork, lessons: Lessons) -> Learner:
        """What trains it."""

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        """Images that are not too small for its convolutions."""
        small = min(shape[1:]) < 4
        return f"it needs images of at least 4x4, and the model's are {shape[1]}x{shape[2]}" if small else None

    def make(self, lessons: Lessons, schedule: Schedule) -> bytes:
        """Train the network, and write it."""
        images = lessons.images
        channels, high, wide = images.shape[1:]
        network = self.network((channels, high, wide), seed_of(lessons, self.id, "weights")).to(images.device)
        learner = self.learner(network, lessons)
        generator = torch.Generator().manual_seed(seed_of(lessons, self.id, "training"))
        schedule.rounds, steps = self.epochs, 0
        for epoch in range(self.epochs):
            learner.slow(0.5 * (1 + math.cos(math.pi * epoch / self.epochs)))
            order, total = torch.randperm(len(images), generator=generator), 0.0
            for batch in torch.split(order, BATCH):
                if not schedule.go_on():
                    return _written(network, steps)
                total += learner.step(images[batch.to(images.device)], generator) * len(batch)
                steps += 1
            schedule.finished(total / len(images))
        return _written(network, steps)


def seed_of(lessons: Lessons, *purpose: str) -> int:
    """Of one purpose, from the seed of all."""
    return key_of(lessons.seed, "purifier", *purpose) % 2**31


def _written(network: ImageNetwork, steps: int) -> bytes:
    if not steps:
        raise AuditError("the time budget was over before the purifier learned anything")
    if not all(bool(torch.isfinite(value).all()) for value in network.parameters()):
        raise AuditError("the training of the purifier diverged: its weights are not finite; try another seed")
    return network.as_onnx()
