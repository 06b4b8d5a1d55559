"""Variance reduction: gradients averaged over noisy copies of the points."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform

__all__ = ["VarianceReduction"]


@attack_parameters
class VarianceReduction(Transform):
    """Gradients are averaged over copies of the points with Gaussian noise, which leaves what holds around them.

    A network's gradient varies within the radius of an attack, and most of that is its own; what is left in the mean
    is closer to another network's. Source: Wu, Zhu, Tai, E 2018, "Understanding and Enhancing the Transferability of
    Adversarial Examples" (vr-IGSM). Cost: ``copies`` gradients at each point.

    Args:
        copies: of each point.
        deviation: standard deviation of the noise, as a share of the domain's width.
    """

    id = "vr"

    copies: Count = 8
    deviation: Positive = 0.1

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        return points + copies.normal("noise", tuple(points.shape[1:])).to(points) * self.deviation
