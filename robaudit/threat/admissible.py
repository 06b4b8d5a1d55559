"""What an adversarial example may be: one rule for the judge and for replays, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.sets.base import PerturbationSet, Witness

__all__ = ["admissible"]


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
    exact, start = np.asarray(point, np.float64), np.asarray(origin, np.float64)
    flat = exact.reshape(len(exact), math.prod(exact.shape[1:]))
    inside: NDArray[np.bool_] = (flat.min(1) >= -TOLERANCE) & (flat.max(1) <= 1 + TOLERANCE)
    inside &= size <= np.asarray(eps) + TOLERANCE
    for one in sets:
        inside &= one.contains(exact, start, witness)
    return inside
