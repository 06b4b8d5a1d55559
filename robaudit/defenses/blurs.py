"""Blurs: the median of each window, and Gaussian weights."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.suited import no_images
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Gaussian", "Median"]


@attack_parameters
class Median(Defense):
    """Puts the median of its neighbours in place of each pixel, channel by channel, so that lone outliers vanish.

    The borders are mirrored. The gradient is exact: it goes to the pixel that was the median. Source: Xu, Evans, Qi
    2018, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks" (spatial smoothing).

    Args:
        size: width and height of the window in pixels; of an even number of neighbours the upper median counts.
    """

    id = "median"

    size: Annotated[int, Field(ge=2, le=15)] = 3

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images at least as large as its window."""
        return no_images(meaning) or _too_small(meaning, self.size)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """The median of each window."""
        found: NDArray[Any] = ndimage.median_filter(u, (1, 1, self.size, self.size), mode="reflect")
        return found

    def backward_path(self, u: Tensor) -> Tensor:
        """The same values, selected where a gradient can follow."""
        import torch

        before = self.size // 2
        for axis in (2, 3):
            places = np.pad(np.arange(u.shape[axis]), (before, self.size - 1 - before), mode="symmetric")
            u = u.index_select(axis, torch.from_numpy(places).to(u.device))
        windows = u.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)
        return windows.kthvalue(self.size**2 // 2 + 1, dim=4).values


@attack_parameters
class Gaussian(Defense):
    """Blurs each channel with Gaussian weights, so that fine patterns are averaged away.

    The borders are mirrored, and weights beyond 4 sigma are left out. It is linear, and its gradient exact; a blur that
    is part of the model is what an attacker sees and optimises through. Source: the filter of SciPy.

    Args:
        sigma: standard deviation of the weights in pixels.
    """

    id = "gaussian"

    sigma: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)] = 1.0

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images."""
        return no_images(meaning)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """The weighted mean around each pixel."""
        found: NDArray[Any] = ndimage.gaussian_filter(u, (0, 0, self.sigma, self.sigma), mode="reflect")
        np.clip(found, 0, 1, out=found)  # weights add up to 1 but for the last bits
        return found

    def backward_path(self, u: Tensor) -> Tensor:
        """The same weights as matrices."""
        import torch

        rows, columns = (torch.from_numpy(_weights(size, self.sigma)).to(u) for size in u.shape[2:])
        return rows @ u @ columns.T


def _too_small(meaning: InputMeaning, size: int) -> str | None:
    high, wide = meaning.shape[1:]
    return f"its window of {size} is larger than the model's images, {high}x{wide}" if size > min(high, wide) else None


@functools.lru_cache(maxsize=32)
def _weights(size: int, sigma: float) -> NDArray[np.float64]:
    """[size, size]: what each place of a line, in its row, takes from each other."""
    found: NDArray[np.float64] = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect")
    return found
