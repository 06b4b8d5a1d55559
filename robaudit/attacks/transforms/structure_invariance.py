"""Structure invariance: each block of an image is changed in a way of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform, images_alone

__all__ = ["StructureInvariance"]

OPERATIONS = ("down", "across", "upside down", "mirror", "turn", "scale", "noise", "resize", "frequencies", "dropout")
"""Of the blocks, one as likely as the other."""
SMALLER, LOST, DROPPED = 0.8, 0.4, 0.1
"""Share of a side that a resized block keeps, of the frequencies that are taken off, and of channels that are 0."""


@attack_parameters
class StructureInvariance(Transform):
    """The gradient is the mean over copies, each block of which is changed in a way that is chosen at random.

    The cuts are at random places too. A block is rolled down or across, put upside down, mirrored, turned by 180
    degrees, darkened, made noisy, made smaller and large again, robbed of its high frequencies, or loses channels.
    Source: Wang, Zhang, Zhang 2023, "Structure Invariant Transformation for better Adversarial Transferability",
    section 3.2 (SIA); numbers as in the authors' code. Noise is not cut off at the box. Each sample, step and copy is
    changed on its own, where the authors change a batch alike. ``copies`` gradients.

    Args:
        copies: number of changed images.
        blocks: that each side is cut into; no more than it has pixels.
        noise: largest change by noise, as a share of the domain.
    """

    id = "sia"

    copies: Count = 20
    blocks: Count = 3
    noise: Fraction = 16 / 255

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("sia changes blocks of", shape)

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        channels, height, width = points.shape[1:]
        rows = _Cuts(copies.uniform("rows", (height,)), self.blocks)
        columns = _Cuts(copies.uniform("columns", (width,)), self.blocks)
        block = (rows.part[:, :, None] * columns.count + columns.part[:, None, :]).flatten(1)
        blocks = rows.count * columns.count
        chosen = (copies.uniform("operation", (blocks,)).double() * len(OPERATIONS)).long().gather(1, block)
        is_now = {name: (chosen == i).reshape(-1, height, width) for i, name in enumerate(OPERATIONS)}

        def amount(name: str) -> Tensor:
            return copies.uniform(name, (blocks,)).double().gather(1, block).reshape(-1, height, width)

        turn = is_now["turn"]
        row = rows.source(is_now["down"], amount("down"), is_now["upside down"] | turn, 2)
        column = columns.source(is_now["across"], amount("across"), is_now["mirror"] | turn, 1)
        index = (row * width + column).long().flatten(1)[:, None].expand(-1, channels, -1)
        changed = points.flatten(2).gather(2, index).reshape(points.shape)
        for name, by_row, by_column in (
            ("resize", rows.resized(), columns.resized()),
            ("frequencies", rows.low(), columns.low()),
        ):
            other = by_row[:, None].to(points.dtype) @ points @ by_column[:, None].mT.to(points.dtype)
            changed = torch.where(is_now[name][:, None], other, changed)
        factor = torch.where(is_now["scale"], amount("scale"), 1.0)[:, None]
        lost = copies.uniform("dropout", (channels, blocks)).gather(2, block[:, None].expand(-1, channels, -1))
        kept = (lost.reshape(points.shape) >= DROPPED).double() / (1 - DROPPED)
        factor = torch.where(is_now["dropout"][:, None], kept, factor)
        noise = (2 * copies.uniform("noise", tuple(points.shape[1:])).to(points.dtype) - 1) * self.noise
        return changed * factor.to(points.dtype) + noise * is_now["noise"][:, None]


class _Cuts:
    """A side of images, cut into parts at random places.

    Args:
        chance: [N, length] random numbers; the places with the largest are the first of a part, and so is the first.
        parts: so many, or as many as there are pixels.
    """

    def __init__(self, chance: Tensor, parts: int) -> None:
        length = chance.shape[1]
        self.count = min(parts, length)
        begins = torch.zeros_like(chance, dtype=torch.bool)
        begins[:, 0] = True
        if self.count > 1:
            begins.scatter_(1, 1 + chance[:, 1:].topk(self.count - 1, 1).indices, True)
        self.pixel = torch.arange(length, dtype=torch.float64, device=chance.device)
        self.part = begins.cumsum(1) - 1
        """[N, length] int64 which part each pixel lies in."""
        size = torch.zeros(len(chance), self.count, dtype=torch.float64, device=chance.device)
        size = size.scatter_add(1, self.part, torch.ones_like(chance, dtype=torch.float64))
        self.size = size.gather(1, self.part)
        """[N, length] pixels of its part."""
        self.first = (size.cumsum(1) - size).gather(1, self.part)
        """[N, length] first pixel of its part."""
        self.inner = self.pixel - self.first
        """[N, length] place in its part."""

    def source(self, rolled: Tensor, amount: Tensor, flipped: Tensor, along: int) -> Tensor:
        """[N, H, W] where along this side the pixels come from.

        Args:
            rolled: [N, H, W] bool.
            amount: [N, H, W] of a roll, as a share of the part.
            flipped: [N, H, W] bool.
            along: dimension of what is told of each pixel of this side that the other side is put in.
        """
        inner, size, first = (part.unsqueeze(along) for part in (self.inner, self.size, self.first))
        roll = torch.where(rolled, (amount * size).floor(), 0.0)
        return first + torch.where(flipped, size - 1 - inner, (inner - roll) % size)

    def resized(self) -> Tensor:
        """[N, length, length] weights of the pixels in those of parts made smaller and large again, bilinearly."""
        smaller = (SMALLER * self.size).floor() + 1
        down = self._bilinear(self.size, smaller)
        return self._bilinear(smaller, self.size) @ down

    def _bilinear(self, before: Tensor, after: Tensor) -> Tensor:
        """[N, length, length] weights where parts of so many pixels come to have others; both begin as the part does.

        What lies behind the new pixels of a part is void: nothing takes it up.
        """
        source = ((self.inner + 0.5) * (before / after) - 0.5).clamp_min(0).minimum(before - 1) + self.first
        return (1 - (source[:, :, None] - self.pixel).abs()).clamp_min(0)

    def low(self) -> Tensor:
        """[N, length, length] weights of the pixels in those of parts without their high frequencies (DCT II)."""
        size, order = self.size[:, :, None], self.pixel
        scale = ((1 + (order > 0).double()) / size).sqrt()
        wave = (math.pi * (2 * self.inner[:, :, None] + 1) * order / (2 * size)).cos() * scale
        wave = torch.where(order < size - (LOST * size).floor(), wave, 0.0)
        return (wave @ wave.mT) * (self.part[:, :, None] == self.part[:, None, :])
