"""Scale invariance: copies of an image that are darker and darker."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform, images_alone

__all__ = ["ScaleInvariance"]


@attack_parameters
class ScaleInvariance(Transform):
    """The gradient is the mean over copies whose values are halved once, twice and so on.

    Models lose little accuracy on darker images, so that each copy stands for another model. Source: Lin, Song, He,
    Wang, Hopcroft 2020, "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks", eq. 10
    (SI-NI-FGSM is ``ni+si``). Values count from the low end of the domain; the authors' are from -1 to 1, later
    implementations' from 0 to 1, as here. A gradient for each scale.

    Args:
        scales: number of copies, the first of which is the image as it is.
    """

    id = "si"

    scales: Count = 5

    @property
    def copies(self) -> int:
        return self.scales

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("si darkens", shape)

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        return points * (0.5 ** copies.number.to(points.dtype))[:, None, None, None]
