"""What the attacker may do: the threat model."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.threat.admissible import in_box_and_ball, in_sets
from robaudit.threat.norms import Norm, distance
from robaudit.threat.sets.base import PerturbationSet

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
    """Norm, radius, goal, query budget and perturbation sets beside the ball; the domain is the box [0, 1] of u-space.

    Args:
        norm: in which the perturbation is measured.
        eps: radius as a fraction of the domain's width (L0: a number of features).
        goal: untargeted, or targeted at the class given with each sample.
        queries: most queries that a black-box attack may spend on one sample; None leaves it to the attack.
        sets: what may be changed beside the ball, such as a mask; a perturbation lies in all of them.
        minimal: the smallest distance of each sample is sought: an attack that shortens its perturbations goes
            on within the ball.
    """

    norm: Norm
    eps: float
    goal: Goal = Goal.UNTARGETED
    queries: int | None = None
    sets: tuple[PerturbationSet, ...] = ()
    minimal: bool = False

    def mask(self, like: Tensor) -> Tensor | None:
        """[S, *shape] bool, set where [S, *shape] samples cannot be changed; None where they can everywhere."""
        masks = (one.fixed(tuple(like.shape[1:])) for one in self.sets)
        still = [torch.tensor(mask) for mask in masks if mask is not None and mask.any()]
        if not still:
            return None
        return torch.stack(still).any(0).to(like.device).expand_as(like)

    def admissible(self, origin: Tensor, point: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Whether each point lies in the box, the ball and all sets, measured in float64.

        Args:
            origin: [S, *shape] unperturbed samples in u-space.
            point: [S, *shape] candidates.
            eps: [S] radius of each slot; default the model's own.

        Returns:
            ([S] bool, [S] float64 distances).
        """
        exact, start = point.double(), origin.double()
        size, flat = distance(self.norm, exact - start), exact.flatten(1)
        inside: Tensor = in_box_and_ball(flat.amin(1), flat.amax(1), size, self.eps if eps is None else eps.double())
        if self.sets:  # they are written in NumPy, and a GPU need not wait where there are none
            allowed = in_sets(exact.cpu().numpy(), start.cpu().numpy(), self.sets)
            inside &= torch.from_numpy(allowed).to(inside.device)
        return inside, size
