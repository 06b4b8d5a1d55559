"""How well a number tells two kinds of inputs apart: the receiver operating characteristic and the area under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from robaudit.stats.rates import CONFIDENCE

__all__ = ["Area", "area", "curve"]


TINY = 1e-9


@dataclass(frozen=True)
class Area:
    """The area under the curve: the chance that a positive has the larger number than a negative, ties counted half.

    Args:
        estimate: observed.
        low, high: of the interval at ``confidence``.
        negatives, positives: how many there were.
    """

    estimate: float
    low: float
    high: float
    negatives: int
    positives: int
    confidence: float


def area(negatives: Sequence[float], positives: Sequence[float], confidence: float = CONFIDENCE) -> Area | None:
    """The area under the curve with its interval; None where there is none of a kind.

    The interval is that of R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2: Asymptotic methods and evaluation", Statistics in Medicine 25 (2006), method 5: as a score
    interval it has a width where the observed area is 0 or 1. It holds for independent inputs; negatives and positives
    of the same samples make it wider than need be, where their numbers rise together.

    Args:
        negatives, positives: numbers of each kind, of which none is NaN.
        confidence: of the interval.
    """
    m, n = len(negatives), len(positives)
    if not m or not n:
        return None
    low, high = np.sort(np.asarray(negatives, dtype=np.float64)), np.asarray(positives, dtype=np.float64)
    below, upto = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    found = float((below + upto).sum()) / (2 * m * n)
    z = float(ndtri((1 + confidence) / 2))

    def excess(theta: float) -> float:
        return (theta - found) ** 2 - z * z * _variance(theta, m, n)

    # at 0 and 1 the variance is 0, so that an end there would be taken for the interval's
    lower = float(brentq(excess, 0.0, min(found, 1 - TINY))) if found > 0 else 0.0
    upper = float(brentq(excess, max(found, TINY), 1.0)) if found < 1 else 1.0
    return Area(found, lower, upper, m, n, confidence)


def _variance(theta: float, m: int, n: int) -> float:
    """Of an observed area where the true one is theta: Hanley and McNeil's, with both sizes at their mean."""
    star = (m + n) / 2 - 1
    return theta * (1 - theta) * (1 + star * (1 - theta) / (2 - theta) + star * theta / (1 + theta)) / (m * n)


def curve(negatives: Sequence[float], positives: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(share of negatives, share of positives) above each threshold, from (0, 0) to (1, 1); empty without any."""
    if not len(negatives) or not len(positives):
        return ()
    low, high = (np.sort(np.asarray(values, dtype=np.float64)) for values in (negatives, positives))
    points = [(0.0, 0.0)]
    for threshold in sorted({*low.tolist(), *high.tolist()}, reverse=True):
        false = 1 - float(np.searchsorted(low, threshold, "left")) / len(low)
        true = 1 - float(np.searchsorted(high, threshold, "left")) / len(high)
        points.append((false, true))
    return tuple(points) if math.isclose(points[-1][0], 1) else (*points, (1.0, 1.0))
