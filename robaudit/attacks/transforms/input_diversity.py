"""Input diversity: images that are shrunk and shifted a little, by chance."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.parameters import Fraction, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform, images_alone

__all__ = ["InputDiversity"]


@attack_parameters
class InputDiversity(Transform):
    """With some probability an image is shrunk by a random share, and padded at random back to its size.

    A gradient that is the same for many sizes and places of an image depends less on the model that it was taken of, so
    that the adversarial example fools other models more often. Source: Xie, Zhang, Zhou, Bai, Wang, Ren, Yuille 2019,
    "Improving Transferability of Adversarial Examples with Input Diversity", section 3.3 (DI-FGSM, and with momentum
    M-DI-FGSM); probability, sizes and filling as in the authors' code. They enlarge an image of side 299 to 299 up to
    329 and pad it to 330; as a finished model takes one size, the image is shrunk instead, by the same share, which is
    how attack libraries do it. Bilinear, where the authors take the nearest pixel, which would leave some pixels
    without a gradient. Each sample, step and copy is changed on its own.

    Args:
        probability: that an image is changed at all.
        smallest: smallest side, as a share of the image's; 1: no change.
        fill: value of the padding, as a share of the domain; 0 suits images on black ground better.
    """

    id = "di"

    probability: Fraction = 0.5
    smallest: Annotated[float, Field(gt=0, le=1)] = 0.9
    fill: Fraction = 0.5

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("di resizes", shape, smallest=2)

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        chance, size, top, left = copies.uniform("input diversity", (4,)).double().unbind(1)
        size = torch.where(chance < self.probability, size, 1.0)
        rows = self._resized(points.shape[2], size, top).to(points.dtype)
        columns = self._resized(points.shape[3], size, left).to(points.dtype)
        image = rows[:, None] @ points @ columns[:, None].mT
        covered = rows.sum(2)[:, None, :, None] * columns.sum(2)[:, None, None, :]
        return image + self.fill * (1 - covered)

    def _resized(self, length: int, size: Tensor, place: Tensor) -> Tensor:
        """[N, length, length] weights of pixels along a side in those of the smaller image, zero where it is padded.

        Args:
            length: of the side.
            size: [N], 0 the smallest and below 1 the largest that is smaller, 1: as it is.
            place: [N] in [0, 1): of what is padded, the share that comes first.
        """
        least = min(max(1, int(self.smallest * length)), length)
        side = least + (size * (length - least)).floor()
        first = (place * (length - side + 1)).floor()
        pixel = torch.arange(length, dtype=size.dtype, device=size.device)
        inner = pixel - first[:, None]
        source = ((inner + 0.5) * (length / side)[:, None] - 0.5).clamp(0, length - 1)
        weights = (1 - (source[:, :, None] - pixel).abs()).clamp_min(0)
        return weights * ((inner >= 0) & (inner < side[:, None]))[:, :, None]
