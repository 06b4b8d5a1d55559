"""The cosine transform of images: an orthonormal basis, whose low frequencies hold what perturbations need."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["cosines", "from_low_frequencies", "low_shape", "to_low_frequencies"]


@lru_cache(maxsize=16)
def _basis(size: int) -> Tensor:
    """[size, size] float64, see :func:`cosines`."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * (math.pi / size)
    rows = torch.cos(torch.arange(size, dtype=torch.float64)[:, None] * place[None, :]) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows


def cosines(size: int, count: int, like: Tensor) -> Tensor:
    """The orthonormal basis of the cosine transform (DCT-II; Ahmed, Natarajan, Rao 1974), low frequencies first.

    Args:
        size: length of a signal.
        count: how many of its basis vectors.
        like: gives the type and the device.

    Returns:
        [count, size], whose rows are orthonormal.
    """
    return _basis(size)[:count].to(like)


def low_shape(shape: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Shape of the coefficients of an image's lowest frequencies.

    Args:
        shape: of a sample. [C, H, W] is an image; of anything else, whose features have no order, nothing is left out.
        share: of the frequencies of each side that are kept, at least one.
    """
    if len(shape) != 3:
        return shape
    return shape[0], *(max(1, math.ceil(share * side)) for side in shape[1:])


def from_low_frequencies(coefficients: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The perturbations that coefficients stand for: an isometry onto the span of the low frequencies.

    Args:
        coefficients: [..., *low_shape(shape, share)].
        shape: of a sample.

    Returns:
        [..., *shape].
    """
    if len(shape) != 3:
        return coefficients
    down = cosines(shape[1], coefficients.shape[-2], coefficients)
    across = cosines(shape[2], coefficients.shape[-1], coefficients)
    return down.T @ coefficients @ across


def to_low_frequencies(values: Tensor, shape: tuple[int, ...], share: float) -> Tensor:
    """The coefficients of [..., *shape] at the lowest frequencies, [..., *low_shape(shape, share)]."""
    if len(shape) != 3:
        return values
    _, height, width = low_shape(shape, share)
    return cosines(shape[1], height, values) @ values @ cosines(shape[2], width, values).T
