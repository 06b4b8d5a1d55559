"""What an adversarial example may be: one rule for the judge and for replays. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.sets.base import PerturbationSet, Witness

__all__ = ["admissible", "in_box_and_ball", "in_sets"]


def in_box_and_ball(lowest: Any, highest: Any, size: Any, eps: Any) -> Any:
    """[N] bool, of tensors or arrays: points with these extremes lie in the box [0, 1], and within the radius.

    Args:
        lowest: [N] smallest feature of each point, ``highest`` the largest, in float64.
        size: [N] distances in the threat model's norm.
        eps: [N] radius of each, or one for all.
    """
    return (lowest >= -TOLERANCE) & (highest <= 1 + TOLERANCE) & (size <= eps + TOLERANCE)


def in_sets(
    point: NDArray[Any], origin: NDArray[Any], sets: Sequence[PerturbationSet], witness: Witness | None = None
) -> NDArray[np.bool_]:
    """[N] whether points [N, *shape] lie in every perturbation set, measured in float64."""
    exact, start = np.asarray(point, np.float64), np.asarray(origin, np.float64)
    inside = np.ones(len(exact), dtype=np.bool_)
    for one in sets:
        inside &= one.contains(exact, start, witness)
    return inside


def admissible(
    point: NDArray[Any],
    origin: NDArray[Any],
    size: NDArray[np.float64],
    eps: NDArray[np.float64] | float,
    sets: Sequence[PerturbationSet] = (),
    witness: Witness | None = None,
) -> NDArray[np.bool_]:
    """Whether points lie in the box [0, 1], the ball and every perturbation set, measured in float64.

    Args:
        point: [N, *shape] in u-space.
        origin: [N, *shape] the unperturbed samples.
        size: [N] their distances in the threat model's norm.
        eps: [N] radius of each, or one for all.
        sets: of the threat model, beside the ball.
        witness: with which the attack claims to have made the points.

    Returns:
        [N] bool; a point that is not finite is not admissible.
    """
    exact = np.asarray(point, np.float64)
    flat = exact.reshape(len(exact), math.prod(exact.shape[1:]))
    inside: NDArray[np.bool_] = in_box_and_ball(flat.min(1), flat.max(1), size, np.asarray(eps))
    return inside & in_sets(exact, origin, sets, witness)
