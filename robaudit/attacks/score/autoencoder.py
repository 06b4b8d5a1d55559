"""A small convolutional autoencoder of images, which an attack trains on the audit's data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Autoencoder"]

CHANNELS = 16
MIDDLE = 0.5
"""Of the domain; what is encoded is the distance from it."""


@dataclass(frozen=True)
class Autoencoder:
    """Two halvings down to a latent image of as many channels, and two doublings back.

    Args:
        shape: [C, H, W] of an image.
        side: of the latent image at most; larger images are shrunk first.
    """

    shape: tuple[int, ...]
    side: int

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of what is encoded."""
        return min(self.shape[1], 4 * self.side), min(self.shape[2], 4 * self.side)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Shape of the latent image."""
        height, width = (math.ceil(math.ceil(size / 2) / 2) for size in self.inner)
        return self.shape[0], height, width

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Channels that each layer takes and gives, in order."""
        colours = self.shape[0]
        down = {"down1": (colours, CHANNELS), "down2": (CHANNELS, CHANNELS), "latent": (CHANNELS, colours)}
        return down | {"up1": (colours, CHANNELS), "up2": (CHANNELS, CHANNELS), "image": (CHANNELS, colours)}

    def begun(self, normal: Callable[[str, tuple[int, ...]], Tensor]) -> dict[str, Tensor]:
        """Weights before training (He et al. 2015): ``normal(name, shape)`` draws standard normal numbers."""
        weights = {}
        for name, (taken, given) in self.sizes.items():
            weights[name] = normal(name, (given, taken, 3, 3)) * math.sqrt(2 / (9 * taken))
            weights[f"{name}.bias"] = torch.zeros_like(weights[name][:, 0, 0, 0])
        return weights

    def encoded(self, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """[N, *shape] in [0, 1] to [N, *latent]."""
        value = self._shrunk(images) - MIDDLE
        for name in ("down1", "down2"):
            value = F.max_pool2d(F.relu(_layer(weights, name, value)), 2, ceil_mode=True)
        return _layer(weights, "latent", value)

    def decoded(self, weights: Mapping[str, Tensor], latent: Tensor) -> Tensor:
        """[N, *latent] to [N, C, *inner], the distance from the middle of the domain."""
        value = latent
        for name in ("up1", "up2"):
            value = F.interpolate(F.relu(_layer(weights, name, value)), scale_factor=2.0, mode="nearest")
        return _layer(weights, "image", value[:, :, : self.inner[0], : self.inner[1]])

    def loss(self, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """The mean square of what is lost of images [N, *shape]."""
        return (self.decoded(weights, self.encoded(weights, images)) - (self._shrunk(images) - MIDDLE)).square().mean()

    def perturbation(self, weights: Mapping[str, Tensor], latent: Tensor) -> Tensor:
        """[N, *latent] to [N, *shape]: what is decoded less what nothing is decoded to."""
        found = self.decoded(weights, torch.cat([torch.zeros_like(latent[:1]), latent]))
        return F.interpolate(found[1:] - found[:1], size=self.shape[1:], mode="bilinear")

    def _shrunk(self, images: Tensor) -> Tensor:
        if self.inner == self.shape[1:]:
            return images
        return F.interpolate(images, size=self.inner, mode="bilinear", antialias=True)


def _layer(weights: Mapping[str, Tensor], name: str, value: Tensor) -> Tensor:
    return F.conv2d(value, weights[name], weights[f"{name}.bias"], padding=1)
