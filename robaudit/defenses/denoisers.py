"""Denoisers of scikit-image: non-local means, and total variation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import Positive, attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.suited import library, no_images, no_library
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["NonLocalMeans", "TotalVariation"]

MODULE, CALLED = "skimage", "scikit-image"


@attack_parameters
class NonLocalMeans(Defense):
    """Averages each pixel with those whose surroundings look alike, so that texture is smoothed and edges stay.

    Needs scikit-image (`pip install 'robaudit[defenses]'`). On the way back the identity stands for it. Sources:
    Buades, Coll, Morel 2005, "A Non-Local Algorithm for Image Denoising"; as a defense: Xu, Evans, Qi 2018, "Feature
    Squeezing: Detecting Adversarial Examples in Deep Neural Networks", whose settings "11-3-4" (window, patch, strength
    of 255) are the defaults.

    Args:
        strength: how unlike surroundings may be, as a fraction of the domain's width; larger is smoother.
        window: width of the square in which alike surroundings are searched, in pixels, an odd number.
        patch: width of the surroundings that are compared, in pixels, an odd number.
    """

    id = "nl-means"

    strength: Positive = 4 / 255
    window: Annotated[int, Field(ge=3, le=63)] = 11
    patch: Annotated[int, Field(ge=1, le=15)] = 3

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images, and odd numbers of pixels."""
        for name, size in (("window", self.window), ("patch", self.patch)):
            if size % 2 == 0:
                return f"its {name} of {size} has no middle; take an odd number"
        return no_images(meaning) or no_library(MODULE, CALLED)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """Each image by itself."""
        denoise = library("skimage.restoration", CALLED).denoise_nl_means
        rows = [
            denoise(
                np.moveaxis(image, 0, -1).squeeze(-1) if len(image) == 1 else np.moveaxis(image, 0, -1),
                patch_size=self.patch,
                patch_distance=self.window // 2,
                h=self.strength,
                fast_mode=True,
                channel_axis=None if len(image) == 1 else -1,
            )
            for image in u.astype(np.float64)
        ]
        found = np.stack(rows).reshape(len(u), *u.shape[2:], u.shape[1])
        return np.ascontiguousarray(np.clip(np.moveaxis(found, -1, 1), 0, 1), dtype=u.dtype)


@attack_parameters
class TotalVariation(Defense):
    """Finds the image near the given one whose neighbours differ least, channel by channel.

    Minimises the squared distance to the given image and `weight` times the sum of its gradients' lengths, by
    Chambolle's projection. Needs scikit-image (`pip install 'robaudit[defenses]'`). On the way back the first steps of
    the projection stand for all. Sources: Rudin, Osher, Fatemi 1992, "Nonlinear total variation based noise removal
    algorithms"; Chambolle 2004, "An Algorithm for Total Variation Minimization and Applications"; as a defense: Guo,
    Rana, Cisse, van der Maaten 2018, "Countering Adversarial Images using Input Transformations", which also drops
    pixels at random, as this does not.

    Args:
        weight: of the total variation; larger is smoother.
        steps: most iterations.
    """

    id = "tv"

    weight: Positive = 0.03
    steps: Annotated[int, Field(ge=1, le=1000)] = 100

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images."""
        return no_images(meaning) or no_library(MODULE, CALLED)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """Each image by itself."""
        denoise = library("skimage.restoration", CALLED).denoise_tv_chambolle
        rows = [
            denoise(image.astype(np.float64), weight=self.weight, max_num_iter=self.steps, channel_axis=0)
            for image in u
        ]
        found: NDArray[Any] = np.clip(np.stack(rows), 0, 1).astype(u.dtype)
        return found

    def backward_path(self, u: Tensor) -> Tensor:
        """The first steps of the same."""
        from robaudit.defenses._soft_tv import soft_tv

        return soft_tv(u, self.weight)
