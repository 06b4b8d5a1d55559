"""APE-GAN."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.purifiers.base import Lessons
from robaudit.purifiers.networks import ImageNetwork, Layer
from robaudit.purifiers.training import RATE, Learner, NetworkRecipe, seed_of

__all__ = ["ApeGan"]


@attack_parameters
class ApeGan(NetworkRecipe):
    """A generator that makes clean images of adversarial ones, against a discriminator that tells the two apart.

    The adversarial images are made with one step against the model, and made anew for each pass. Source: Shen, Jin,
    Gao, Zhang 2017, "APE-GAN: Adversarial Perturbation Elimination with GAN", whose loss is the squared distance to the
    clean image and that of the discriminator; the networks here are small, without batch norm, and the generator adds
    what it finds to the image, to learn from few images.

    Args:
        epochs: passes over the images.
        width: channels of the first layers.
        fooling: share of the generator's loss that is about the discriminator.
    """

    id = "ape-gan"
    needs_gradient = True

    epochs: Count = 40
    width: Annotated[int, Field(ge=1, le=256)] = 24
    fooling: Fraction = 0.3

    def network(self, shape: tuple[int, int, int], seed: int) -> ImageNetwork:
        """The generator: down to a quarter of the resolution, and up again."""
        channels, wide, (high, across) = shape[0], self.width, shape[1:]
        half = (-(-high // 2), -(-across // 2))
        layers = [
            Layer("conv", (channels, wide)),
            Layer("relu"),
            Layer("halve"),
            Layer("conv", (wide, 2 * wide)),
            Layer("relu"),
            Layer("halve"),
            Layer("conv", (2 * wide, 2 * wide)),
            Layer("relu"),
            Layer("double", size=half),
            Layer("conv", (2 * wide, wide)),
            Layer("relu"),
            Layer("double", size=shape[1:]),
            Layer("conv", (wide, wide)),
            Layer("relu"),
            Layer("conv", (wide, channels), idle=True),
            Layer("add", name="x"),
            Layer("clip"),
        ]
        return ImageNetwork(layers, shape, seed)

    def learner(self, network: ImageNetwork, lessons: Lessons) -> Learner:
        """Both networks in turn."""
        return _Rivals(network, lessons, self.width, self.fooling)


class _Rivals:
    def __init__(self, generator: ImageNetwork, lessons: Lessons, width: int, fooling: float) -> None:
        self._lessons, self._generator, self._fooling = lessons, generator, fooling
        self._critic = _critic(lessons.images.shape[1], width, seed_of(lessons, "ape-gan", "critic"))
        self._critic.to(lessons.images.device)
        self._own = torch.optim.Adam(generator.parameters(), lr=RATE)
        self._other = torch.optim.Adam(self._critic.parameters(), lr=RATE / 4)

    def step(self, clean: Tensor, generator: torch.Generator) -> float:
        """The discriminator first, then the generator."""
        made: Tensor = self._generator(self._lessons.disturbed(clean, generator))
        told = torch.cat([self._critic(clean), self._critic(made.detach())])
        truth = (torch.arange(2 * len(clean), device=clean.device) < len(clean)).to(told)
        wrong = F.binary_cross_entropy_with_logits(told, truth)
        self._other.zero_grad(set_to_none=True)
        wrong.backward()  # type: ignore[no-untyped-call]
        self._other.step()
        far = (made - clean).square().mean()
        seen = F.softplus(-self._critic(made)).mean()
        # the distance is thousands of times smaller than the other; so weighted both pull
        value = (1 - self._fooling) * far * SHARPNESS + self._fooling * seen
        self._own.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        self._own.step()
        return float(far.detach())

    def slow(self, share: float) -> None:
        """Both at the share of their rates."""
        for optimiser, rate in ((self._own, RATE), (self._other, RATE / 4)):
            for group in optimiser.param_groups:
                group["lr"] = rate * share


SHARPNESS = 1000.0


def _critic(channels: int, width: int, seed: int) -> nn.Sequential:
    """[N, C, H, W] to [N]: how clean images look."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, 1),
            nn.Flatten(0),
        )
