"""JPEG's arithmetic in torch, with a rounding that has a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["soft_jpeg"]

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""From red, green, blue to brightness and two colours, without the offset of the latter: JFIF 1.02."""
SIZE = 8
NOISE = 5.0
"""Standard deviation of the noise that rounding is averaged over, in levels of 255."""
STRAIGHT = 0.3
"""Share of the slope that is the identity's, so that no frequency is out of reach, however coarse its steps."""
WIDEST = 0.7
"""Steps of rounding; noise that is wider averages it to a straight line."""
STEPS = 3
"""Steps on each side that noise can reach."""


def soft_jpeg(u: Tensor, tables: Sequence[Tensor], factors: tuple[int, int]) -> Tensor:
    """What a JPEG codec makes of images, its rounding softened: the mean of what it would make of their frequencies
    under Gaussian noise of ``NOISE``.

    The differentiable codec is that of Shin, Song 2017, "JPEG-resistant Adversarial Images", whose rounding was
    round(x) + (x - round(x))^3. The slope of that is nearly 0 wherever a fine frequency is rounded to 0, however close
    the next step is to what an attacker can do; the mean over noise of about that size sees it.

    Args:
        u: [N, C, H, W] in [0, 1], C = 1 or 3.
        tables: [8, 8] divisors of the frequencies: of brightness, and of the colours (the last where there is one).
        factors: pixels that share a colour, down and across.

    Returns:
        [N, C, H, W], not clipped.
    """
    x = u * 255
    if u.shape[1] == 1:
        return (_plane(x - 128, tables[0]) + 128) / 255
    matrix = x.new_tensor(TO_YCC)
    planes = torch.einsum("pc,nchw->nphw", matrix, x)
    grey = _plane(planes[:, :1] - 128, tables[0]) + 128
    colours = torch.cat([_smaller(planes[:, i : i + 1], tables[-1], factors) for i in (1, 2)], 1)
    back = torch.linalg.inv(matrix.double()).to(x.dtype)
    return torch.einsum("cp,nphw->nchw", back, torch.cat([grey, colours], 1)) / 255


def _smaller(plane: Tensor, table: Tensor, factors: tuple[int, int]) -> Tensor:
    """A colour, coded at a smaller size."""
    if factors == (1, 1):
        return _plane(plane, table)
    high, wide = plane.shape[2:]
    padded = functional.pad(plane, (0, -wide % factors[1], 0, -high % factors[0]), mode="replicate")
    coded = _plane(functional.avg_pool2d(padded, factors), table)
    size = (padded.shape[2], padded.shape[3])
    return functional.interpolate(coded, size, mode="bilinear", align_corners=False)[:, :, :high, :wide]


def _plane(plane: Tensor, table: Tensor) -> Tensor:
    """[N, 1, H, W] through the frequencies of its blocks of 8 x 8."""
    high, wide = plane.shape[2:]
    padded = functional.pad(plane, (0, -wide % SIZE, 0, -high % SIZE), mode="replicate")
    blocks = padded.unfold(2, SIZE, SIZE).unfold(3, SIZE, SIZE)
    waves = _waves(plane)
    coded = _rounded(waves @ blocks @ waves.T / table, (NOISE / table).clamp(max=WIDEST)) * table
    found = waves.T @ coded @ waves
    return found.transpose(3, 4).reshape(padded.shape)[:, :, :high, :wide]


def _rounded(x: Tensor, noise: Tensor) -> Tensor:
    """The mean of round(x + n), n of a normal distribution of this standard deviation, mixed with x."""
    whole = x.detach().round()
    edges = [(x - whole - (step + 0.5)) / noise for step in range(-STEPS, STEPS)]
    mean = whole - STEPS + sum((torch.special.ndtr(edge) for edge in edges), torch.zeros_like(x))
    return (1 - STRAIGHT) * mean + STRAIGHT * x


def _waves(like: Tensor) -> Tensor:
    """[8, 8] the orthonormal discrete cosine transform, a frequency each row."""
    place = torch.arange(SIZE, dtype=torch.float64)
    waves = torch.cos(math.pi / SIZE * (place + 0.5) * place[:, None]) * math.sqrt(2 / SIZE)
    waves[0] /= math.sqrt(2)
    return waves.to(like)
