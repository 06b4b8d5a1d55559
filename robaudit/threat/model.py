"""What the attacker may do: the threat model."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.norms import Norm, distance

__all__ = ["Access", "Goal", "ThreatModel"]


class Access(enum.StrEnum):
    """What an attack may ask of the target."""

    WHITE_BOX = "white-box"
    TRANSFER = "transfer"
    SCORES = "scores"
    LABELS = "labels"


class Goal(enum.StrEnum):
    """What counts as a success: any wrong class, or one given class."""

    UNTARGETED = "untargeted"
    TARGETED = "targeted"


@dataclass(frozen=True)
class ThreatModel:
    """Norm, radius, goal, query budget and what stays as it is; the domain is the box [0, 1] of u-space.

    Args:
        norm: in which the perturbation is measured.
        eps: radius as a fraction of the domain's width (L0: a number of features).
        goal: untargeted, or targeted at the class given with each sample.
        queries: most queries that a black-box attack may spend on one sample; None leaves it to the attack.
        fixed: features that the attacker cannot change, as places in the flattened sample.
        minimal: the smallest distance of each sample is sought: an attack that shortens its perturbations goes
            on within the ball.
    """

    norm: Norm
    eps: float
    goal: Goal = Goal.UNTARGETED
    queries: int | None = None
    fixed: tuple[int, ...] = ()
    minimal: bool = False

    def mask(self, like: Tensor) -> Tensor | None:
        """[S, *shape] bool, set where [S, *shape] samples cannot be changed; None where they can everywhere."""
        if not self.fixed:
            return None
        flat = torch.zeros(like[0].numel(), dtype=torch.bool, device=like.device)
        flat[list(self.fixed)] = True
        return flat.reshape(like.shape[1:]).expand_as(like)

    def admissible(self, origin: Tensor, point: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Whether each point lies in the box and the ball, measured in float64, with all that is fixed in its place.

        Args:
            origin: [S, *shape] unperturbed samples in u-space.
            point: [S, *shape] candidates.
            eps: [S] radius of each slot; default the model's own.

        Returns:
            ([S] bool, [S] float64 distances).
        """
        exact = point.double()
        size = distance(self.norm, exact - origin.double())
        flat = exact.flatten(1)
        inside = (flat.amin(1) >= -TOLERANCE) & (flat.amax(1) <= 1 + TOLERANCE)
        radius = torch.full_like(size, self.eps) if eps is None else eps.double()
        if self.fixed:
            places = list(self.fixed)
            moved = (flat[:, places] - origin.double().flatten(1)[:, places]).abs()
            inside &= moved.amax(1) <= TOLERANCE
        return inside & (size <= radius + TOLERANCE), size
