"""Translation invariance: gradients smoothed, as if taken of many shifted images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.transforms.base import Transform, images_alone

__all__ = ["TranslationInvariance"]


@attack_parameters
class TranslationInvariance(Transform):
    """Gradients are smoothed by a Gaussian kernel, after whatever else they are taken through.

    The mean of the gradients of shifted images is nearly the gradient of the image itself, smoothed, so that one
    gradient does for hundreds. Source: Dong, Pang, Su, Zhu 2019, "Evading Defenses to Transferable Adversarial Examples
    by Translation-Invariant Attacks", eq. 7 (TI-FGSM, and through input diversity TI-DIM); the kernel as in the
    authors' code, 15 x 15, cut off at three standard deviations, zeros beyond the edges. It is made for images of side
    299: on small ones a smaller radius loses less. No gradients or forwards more.

    Args:
        radius: pixels from the kernel's middle to its edge.
        deviations: standard deviations of the Gaussian from the kernel's middle to its edge.
    """

    id = "ti"
    moves = False

    radius: Count = 7
    deviations: Positive = 3.0

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("ti smooths gradients of", shape)

    def smoothed(self, gradient: Tensor) -> Tensor:
        place = torch.linspace(-self.deviations, self.deviations, 2 * self.radius + 1, dtype=torch.float64)
        weight = (-place.square() / 2).exp()
        weight = (weight / weight.sum()).to(gradient)
        flat = gradient.reshape(-1, 1, *gradient.shape[2:])
        flat = functional.conv2d(flat, weight[None, None, :, None], padding=(self.radius, 0))
        flat = functional.conv2d(flat, weight[None, None, None, :], padding=(0, self.radius))
        return flat.reshape(gradient.shape)
