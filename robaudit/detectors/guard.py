"""A detector at work beside a model: fitted, with its threshold. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.detectors.base import Arrays, Detector, View

__all__ = ["CHUNK", "Guard", "least_calibration", "threshold_at"]

CHUNK = 64
"""Inputs that are looked at together."""


@dataclass(frozen=True)
class Guard:
    """A detector with all that decides what it rejects.

    Args:
        detector: ready.
        fitted: what it was fitted to.
        threshold: the largest suspicion that is accepted.
        together: the model, asked about several inputs at once.
        alone: the model, asked one input at a time, as the judge does.
    """

    detector: Detector
    fitted: Arrays
    threshold: float
    together: View
    alone: View

    def suspicion(self, u: NDArray[Any], *, alone: bool = False) -> NDArray[np.float64]:
        """[N] of inputs [N, *shape] in u-space; infinite where the detector gives no number."""
        view = self.alone if alone else self.together
        parts = [self.detector.scores(u[i : i + CHUNK], view, self.fitted) for i in range(0, len(u), CHUNK)]
        found = np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)
        return np.where(np.isnan(found), math.inf, found)

    def rejects(self, u: NDArray[Any], *, alone: bool = False) -> NDArray[np.bool_]:
        """[N] whether inputs [N, *shape] are rejected."""
        found: NDArray[np.bool_] = self.suspicion(u, alone=alone) > self.threshold
        return found


def least_calibration(false_alarms: float) -> int:
    """Clean samples that it takes to set a threshold."""
    return math.ceil(1 / false_alarms - 1e-9) - 1


def threshold_at(suspicion: NDArray[np.float64], false_alarms: float) -> float:
    """The largest suspicion that is accepted, so that a further clean input is rejected with at most this probability.

    The ceil((n + 1)(1 - a))-th smallest of n clean samples: of n + 1 that are exchangeable, the last is above it with
    probability a at most. Source: split conformal prediction, Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in
    a Random World".

    Args:
        suspicion: [n] of clean samples, n at least :func:`least_calibration`.
        false_alarms: a, in (0, 1).

    Raises:
        ValueError: there are too few samples.
    """
    rank = math.ceil((len(suspicion) + 1) * (1 - false_alarms) - 1e-9)
    if rank > len(suspicion):
        raise ValueError(f"{len(suspicion)} samples set no threshold at {false_alarms:g} false alarms")
    return float(np.sort(suspicion)[max(rank, 1) - 1])
