"""MagNet's reformer."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.purifiers.base import Lessons
from robaudit.purifiers.networks import ImageNetwork, Layer
from robaudit.purifiers.training import Learner, NetworkRecipe, Plain

__all__ = ["MagNet"]


@attack_parameters
class MagNet(NetworkRecipe):
    """An autoencoder that is trained to remove Gaussian noise from clean images, with weight decay.

    It never sees an adversarial example, nor the model. What it cannot rebuild from half the resolution is lost, be it
    the perturbation or the image. Source: Meng, Chen 2017, "MagNet: a Two-Pronged Defense against Adversarial
    Examples": the reformer, a denoising autoencoder with regularised weights; the network here is wider than theirs, to
    learn from few images.

    Args:
        epochs: passes over the images.
        noise: standard deviation of the noise, as a fraction of the domain's width.
        width: channels of the layers.
        decay: of the weights.
    """

    id = "magnet"

    epochs: Count = 60
    noise: Fraction = 0.1
    width: Annotated[int, Field(ge=1, le=256)] = 32
    decay: Fraction = 1e-6

    def network(self, shape: tuple[int, int, int], seed: int) -> ImageNetwork:
        """Down to half the resolution, and up again."""
        channels, wide = shape[0], self.width
        layers = [
            Layer("conv", (channels, wide)),
            Layer("relu"),
            Layer("halve"),
            Layer("conv", (wide, wide)),
            Layer("relu"),
            Layer("conv", (wide, wide)),
            Layer("relu"),
            Layer("double", size=shape[1:]),
            Layer("conv", (wide, wide)),
            Layer("relu"),
            Layer("conv", (wide, channels)),
            Layer("clip"),
        ]
        return ImageNetwork(layers, shape, seed)

    def learner(self, network: ImageNetwork, lessons: Lessons) -> Learner:
        """The squared distance to the clean image."""
        return _Rebuilding(network, self.noise, self.decay)


class _Rebuilding(Plain):
    def __init__(self, network: ImageNetwork, noise: float, decay: float) -> None:
        super().__init__(network, decay)
        self._noise = noise

    def loss(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        found: Tensor = self.network((clean + self._noise * noise).clamp(0, 1))
        return (found - clean).square().mean()
