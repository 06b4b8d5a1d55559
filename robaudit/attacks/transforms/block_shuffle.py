"""Block shuffle and rotation: an image cut into strips, turned, cut again and put together in another order."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform, images_alone

__all__ = ["BlockShuffle"]


@attack_parameters
class BlockShuffle(Transform):
    """The gradient is the mean over copies whose blocks are shuffled and turned at random.

    What a model looks at in an image is then torn apart and lies elsewhere, so that the gradient depends less on it.
    Source: Wang, Jiang, He, Yang, Guo, Wang 2024, "Boosting Adversarial Transferability by Block Shuffle and Rotation",
    section 3.3 (BSR); numbers and order as in the authors' code: an image is cut into strips, across or down, the
    strips are shuffled, each is turned about its middle, black beyond its edges, and cut into blocks that are shuffled
    within it. Of all copies none is the image itself. Sides of strips differ by up to a factor of two. Each sample,
    step and copy is changed on its own, where the authors change a batch alike. An image one pixel high is shuffled
    and not turned. ``copies`` gradients.

    Args:
        copies: number of shuffled images.
        blocks: that each side is cut into.
        turn: largest angle of a strip, as a share of a full turn; 24 degrees by default.
    """

    id = "bsr"

    copies: Count = 20
    blocks: Count = 3
    turn: Fraction = 24 / 360

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("bsr shuffles blocks of", shape)

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        height, width = points.shape[2:]
        across = (copies.uniform("across", (1,)) < 0.5)[:, :, None]
        row, column, first, last = self._sources(copies, "across", height, width)
        # the same of the image on its side
        turned = (part.mT for part in self._sources(copies, "down", width, height))
        other_column, other_row, left, right = turned
        whole = torch.zeros_like(first)
        rows = (row, first, last), (other_row, whole, whole + height)
        columns = (column, whole, whole + width), (other_column, left, right)
        chosen = ([torch.where(across, *pair) for pair in zip(*both, strict=True)] for both in (rows, columns))
        return _sampled(points, *chosen)

    def _sources(self, copies: Copies, name: str, length: int, breadth: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where each pixel comes from, of images cut into strips along their first side.

        Returns:
            [N, length, breadth] each, float64: its place along the first side and the second; and of the strip that it
            comes from, along the first side, the first pixel and the one after the last.
        """
        count = self.blocks
        place, first, last, strip = self._shuffled(copies, name, length, 1)
        place, first, last, strip = (part[:, 0, :, None] for part in (place, first, last, strip))
        across, _, _, _ = self._shuffled(copies, f"{name} within", breadth, count)
        index = strip.expand(-1, -1, breadth).long()
        across = across.gather(1, index)
        if min(length, breadth) == 1:
            return place.expand_as(across), across, first.expand_as(across), last.expand_as(across)
        angle = (copies.uniform(f"{name} turn", (count,)).double() * 2 - 1) * (2 * math.pi * self.turn)
        angle = angle.gather(1, strip[:, :, 0].long())[:, :, None]
        middle, centre = (first + last - 1) / 2, (breadth - 1) / 2
        along, aside = place - middle, across - centre
        turned = middle + along * angle.cos() - aside * angle.sin()
        across = centre + along * angle.sin() + aside * angle.cos()
        return turned, across, first.expand_as(across), last.expand_as(across)

    def _shuffled(self, copies: Copies, name: str, length: int, times: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A side of so many pixels, cut at random and put together in another order, so many times.

        Returns:
            [N, times, length] each, float64: where each pixel comes from; the first pixel of its part and the one after
            the last; and which part it is in the new order.
        """
        count = self.blocks
        share = 2 - copies.uniform(f"{name} lengths", (times, count)).double()
        cuts = share.cumsum(2)
        size = (cuts / cuts[:, :, -1:] * length).round().diff(dim=2, prepend=torch.zeros_like(cuts[:, :, :1]))
        order = copies.uniform(f"{name} order", (times, count)).argsort(2)
        begin = (size.cumsum(2) - size).gather(2, order)
        size = size.gather(2, order)
        end = size.cumsum(2)
        pixel = torch.arange(length, dtype=size.dtype, device=size.device)
        part = (pixel[:, None] >= end[:, :, None, :]).sum(3)
        first = begin.gather(2, part)
        place = first + pixel - (end - size).gather(2, part)
        return place, first, first + size.gather(2, part), part.to(size.dtype)


def _sampled(points: Tensor, rows: list[Tensor], columns: list[Tensor]) -> Tensor:
    """Bilinear samples of images, 0 beyond the part that each pixel comes from.

    Args:
        points: [N, C, H, W].
        rows: [N, H, W] each: places along the first side, the first pixel of the part there, and the one after the
            last.
        columns: the same along the second.
    """
    height, width = points.shape[2:]
    flat = points.flatten(2)
    total = torch.zeros_like(flat)
    for row, share in _ends(*rows):
        for column, portion in _ends(*columns):
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)
            weight = (share * portion).to(points.dtype).flatten(1)[:, None]
            total = total + weight * flat.gather(2, index[:, None].expand_as(flat))
    return total.reshape(points.shape)


def _ends(place: Tensor, first: Tensor, last: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two pixels beside a place, each with its weight, 0 outside the part."""
    below = place.floor()
    ends = ((below, 1 - (place - below)), (below + 1, place - below))
    return [(pixel, torch.where((pixel >= first) & (pixel < last), weight, 0.0)) for pixel, weight in ends]
