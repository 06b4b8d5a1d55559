"""Distances in NumPy: what :mod:`robaudit.threat.norms` measures in torch, for replays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "distance", "widest"]

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
