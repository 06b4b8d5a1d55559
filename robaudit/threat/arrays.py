"""Whether a point is admissible, in NumPy: what :mod:`robaudit.threat.model` measures in torch, for replays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "admissible", "distance", "widest"]

TOLERANCE = 1e-6
"""Slack of every admissibility test, as a fraction of the domain's width."""
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 0}


def distance(norm: str, origin: NDArray[Any], point: NDArray[Any]) -> float:
    """Size of a perturbation in float64, in units of the domain's width (L0: number of features that differ)."""
    delta = (point.astype(np.float64) - origin.astype(np.float64)).ravel()
    return float(np.linalg.norm(delta, ord=ORDERS[norm]))


def widest(norm: str, features: int) -> float:
    """The largest distance of two points in the box."""
    return {"linf": 1.0, "l2": math.sqrt(features), "l1": float(features), "l0": float(features)}[norm]


def admissible(
    norm: str, eps: float, origin: NDArray[Any], point: NDArray[Any], fixed: Sequence[int] = ()
) -> tuple[bool, float]:
    """Whether a point lies in the box and the ball with all that is fixed in its place, and its distance.

    Args:
        norm: linf, l2, l1 or l0; ``eps``: its radius.
        origin: [*shape] unperturbed sample in u-space; ``point``: [*shape].
        fixed: features that cannot be changed, as places in the flattened sample.
    """
    size = distance(norm, origin, point)
    exact, start = point.astype(np.float64).ravel(), origin.astype(np.float64).ravel()
    inside = bool(exact.min() >= -TOLERANCE and exact.max() <= 1 + TOLERANCE)
    if fixed:
        inside &= bool(np.abs(exact[list(fixed)] - start[list(fixed)]).max() <= TOLERANCE)
    return inside and size <= eps + TOLERANCE, size
