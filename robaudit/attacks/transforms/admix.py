"""Admix: a little of an image of another class is added, at several scales."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.transforms.base import Copies, Transform, images_alone
from robaudit.threat.norms import per_slot

__all__ = ["Admix"]


@attack_parameters
class Admix(Transform):
    """The gradient is the mean over copies with a share of another class's image added, at several scales.

    Source: Wang, He, Wang, He 2021, "Admix: Enhancing the Transferability of Adversarial Attacks", algorithm 1 and eq.
    4; the label stays, and the sum is halved once, twice and so on, as ``si`` does. Images come from the audit's pool
    of starting samples, by chance and one for each copy, where the authors take them from the batch, and the same few
    at all scales. Where the pool holds no other class nothing is added. ``images`` x ``scales`` gradients.

    Args:
        images: added at each scale.
        scales: number of scales, the first of which is the sum as it is.
        strength: share of the other image that is added.
    """

    id = "admix"

    images: Count = 3
    scales: Count = 5
    strength: Positive = 0.2

    @property
    def copies(self) -> int:
        return self.images * self.scales

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        return images_alone("admix mixes", shape)

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        other, found = copies.others("admix")
        share = per_slot(self.strength * found.to(points.dtype), points)
        scale = per_slot(0.5 ** (copies.number % self.scales).to(points.dtype), points)
        return (points + share * other.to(points.dtype)) * scale
