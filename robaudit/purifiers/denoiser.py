"""A denoiser that is guided by the model's logits."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.purifiers.base import Lessons
from robaudit.purifiers.networks import ImageNetwork, Layer
from robaudit.purifiers.training import Learner, NetworkRecipe, Plain

__all__ = ["Denoiser"]


@attack_parameters
class Denoiser(NetworkRecipe):
    """A network that subtracts the perturbation, so that the model's logits become those of the clean image.

    It learns from clean images and from such with one-step adversarial perturbations. A model without a gradient cannot
    guide it: then it learns from random perturbations, and the pixels are to be those of the clean image. Source: Liao,
    Liang, Dong, Pang, Hu, Zhu 2018, "Defense against Adversarial Attacks Using High-Level Representation Guided
    Denoiser": the logits guided, and the pixel guided denoiser; the network here is a small one of two resolutions.

    Args:
        epochs: passes over the images.
        width: channels at the full resolution.
    """

    id = "denoiser"

    epochs: Count = 40
    width: Annotated[int, Field(ge=1, le=256)] = 24

    def network(self, shape: tuple[int, int, int], seed: int) -> ImageNetwork:
        """A small U whose sides are added; what it finds is added to the image."""
        channels, wide = shape[0], self.width
        layers = [
            Layer("conv", (channels, wide)),
            Layer("relu"),
            Layer("keep", name="side"),
            Layer("halve"),
            Layer("conv", (wide, 2 * wide)),
            Layer("relu"),
            Layer("conv", (2 * wide, wide)),
            Layer("relu"),
            Layer("double", size=shape[1:]),
            Layer("add", name="side"),
            Layer("conv", (wide, wide)),
            Layer("relu"),
            Layer("conv", (wide, channels), idle=True),
            Layer("add", name="x"),
            Layer("clip"),
        ]
        return ImageNetwork(layers, shape, seed)

    def learner(self, network: ImageNetwork, lessons: Lessons) -> Learner:
        """By logits where there is a gradient, else by pixels."""
        return _Guided(network, lessons)


class _Guided(Plain):
    def __init__(self, network: ImageNetwork, lessons: Lessons) -> None:
        super().__init__(network)
        self._lessons = lessons

    def loss(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        disturbed = self._lessons.disturbed(clean, generator)
        found: Tensor = self.network(torch.cat([clean, disturbed]))
        logits = self._lessons.logits
        if logits is None:
            return (found - torch.cat([clean, clean])).abs().mean()
        with torch.no_grad():
            wanted = logits(clean)
        return (logits(found) - torch.cat([wanted, wanted])).abs().mean()
