"""Exact statistics of pairs: what changed between two audits of the same samples.

A pair is gained (only the second has the property), lost (only the first has it), or the same in both. Differences
are those of the shares, second less first, so that above 0 more have it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

from robaudit.stats.rates import CONFIDENCE, paired_p, smallest_size

__all__ = ["mcnemar_p", "paired_interval", "paired_lower_bound", "paired_size_to_decide", "paired_upper_bound"]

LARGEST = 1_000_000
STEPS = 40
NODES = 400


def mcnemar_p(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test, twice the smaller tail: no difference, given the pairs that differ.

    Q. McNemar, Psychometrika 12 (1947); the exact form is a sign test.
    """
    return min(1.0, 2 * min(paired_p(gained, lost), paired_p(lost, gained)))


def paired_lower_bound(gained: int, lost: int, pairs: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the paired difference, compatible with McNemar's exact test.

    It lies above 0 exactly where the one-sided test finds more gained than lost. The bound melds that of the share of
    pairs that differ with that of the gained among these: M. P. Fay, K. Lumbard, "Confidence intervals for difference
    in proportions for matched pairs compatible with exact McNemar's or sign tests", Statistics in Medicine 40 (2021).
    No proof is known that it covers always; its authors enumerated every outcome up to 100 pairs, and so do the tests
    here for some sizes.

    Raises:
        ValueError: impossible counts, or a confidence outside of (0, 1).
    """
    _check(gained, lost, pairs, confidence)
    low, high = -1.0, (gained - lost) / pairs if pairs else 0.0
    if _doubt(gained, lost, pairs, low) >= 1 - confidence:
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _doubt(gained, lost, pairs, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def paired_upper_bound(gained: int, lost: int, pairs: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of the paired difference; see :func:`paired_lower_bound`."""
    return -paired_lower_bound(lost, gained, pairs, confidence)


def paired_interval(gained: int, lost: int, pairs: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval of the paired difference, equal tails: it leaves 0 out exactly where :func:`mcnemar_p` is
    below 1 - confidence.
    """
    tail = (1 + confidence) / 2
    return paired_lower_bound(gained, lost, pairs, tail), paired_upper_bound(gained, lost, pairs, tail)


def paired_size_to_decide(
    gained: int, lost: int, pairs: int, threshold: float, confidence: float = CONFIDENCE
) -> int | None:
    """How many pairs would decide whether the difference reaches a threshold, if the shares of both changes stayed.

    Counts at larger sizes are rounded towards the threshold.

    Returns:
        ``pairs`` where it is decided already; None where no size up to a million decides.
    """
    _check(gained, lost, pairs, confidence)
    if pairs == 0 or gained - lost == threshold * pairs:
        return None
    above = gained - lost > threshold * pairs
    more, fewer = (lost, gained) if above else (gained, lost)

    def decided(size: int) -> bool:
        up, down = min(-(-more * size // pairs), size), fewer * size // pairs
        up = min(up, size - down)
        if above:
            return _doubt(down, up, size, threshold) < 1 - confidence
        return _doubt(down, up, size, -threshold) < 1 - confidence

    return smallest_size(decided, pairs, LARGEST)


def _check(gained: int, lost: int, pairs: int, confidence: float) -> None:
    if min(gained, lost) < 0 or gained + lost > pairs:
        raise ValueError(f"{gained} gained and {lost} lost are no counts of {pairs} pairs")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")


@lru_cache(maxsize=4096)
def _doubt(gained: int, lost: int, pairs: int, difference: float) -> float:
    """Probability, under the melded confidence distribution, that the difference is at most ``difference``.

    With m pairs that differ, T ~ Beta(gained, lost + 1) stands for the share of gained among them, and P for the share
    that differs: Beta(m, pairs - m + 1) where the difference is above 0, else Beta(m + 1, pairs - m). The answer is
    the expectation over P of the probability that T <= 1/2 + difference / 2 P.
    """
    m = gained + lost
    if difference >= 1:
        return 1.0
    if difference < -1:
        return 0.0
    a, b = (m, pairs - m + 1) if difference >= 0 else (m + 1, pairs - m)
    if a == 0:
        return 1.0  # P is 0, and so is the difference
    if gained == 0:  # T is 0, and the difference -P
        if difference >= 0:
            return 1.0
        return 1.0 - float(betainc(a, b, -difference)) if b else 1.0
    if b == 0:  # P is 1
        return float(betainc(gained, lost + 1, max(0.0, (1 + difference) / 2)))

    shares, weights = _shares(a, b)
    place = np.clip(0.5 + difference / (2 * shares), 0, 1)
    return float(weights @ betainc(gained, lost + 1, place))


@lru_cache(maxsize=64)
def _shares(a: int, b: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles of Beta(a, b) and weights, for expectations by Gauss and Legendre's rule, denser at both ends."""
    levels, weights = _rule()
    return betaincinv(a, b, levels), weights


@lru_cache(maxsize=1)
def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities in (0, 1) and weights that add up to 1; an eigenvalue problem, worth keeping."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    v = (nodes + 1) / 2
    return v * v * (3 - 2 * v), weights * 3 * v * (1 - v)
