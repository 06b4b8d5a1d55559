"""Exact binomial statistics: intervals, one-sided bounds, paired tests, the sample size that would decide a gate.

All intervals are those of C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
illustrated in the case of the binomial", Biometrika 26 (1934), written as quantiles of the beta distribution.
They cover the error of sampling only: a stronger attack than those tried is outside of what they can say.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betainc, betaincinv

__all__ = [
    "CONFIDENCE",
    "Rate",
    "interval",
    "lower_bound",
    "median_ranks",
    "paired_excess",
    "paired_p",
    "rate",
    "sample_size_to_decide",
    "upper_bound",
]

CONFIDENCE = 0.95
LARGEST_SAMPLE = 10_000_000


def _check(k: int, n: int, confidence: float) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count of successes")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")


def lower_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Clopper-Pearson bound of a proportion; 0 where nothing was seen."""
    _check(k, n, confidence)
    return float(betaincinv(k, n - k + 1, 1 - confidence)) if k else 0.0


def upper_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of a proportion; 1 where nothing was seen."""
    _check(k, n, confidence)
    return float(betaincinv(k + 1, n - k, confidence)) if k < n else 1.0


def interval(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval, equal tails; (0, 1) where nothing was seen."""
    tail = (1 + confidence) / 2
    _check(k, n, confidence)
    return lower_bound(k, n, tail), upper_bound(k, n, tail)


def median_ranks(n: int, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Places, from 0, of the order statistics of n values between which the median of their source lies.

    Distribution-free and conservative: the number of values below the median is binomial with n and 1/2 (H. A.
    David, H. N. Nagaraja, "Order Statistics", 2003, section 7.1).

    Returns:
        None where n is too small for any pair to reach the confidence.
    """
    lowest = None
    for below in range(n // 2):  # P(at most `below` values lie below the median) = I_1/2(n - below, below + 1)
        if float(betainc(n - below, below + 1, 0.5)) > (1 - confidence) / 2:
            break
        lowest = below
    return None if lowest is None else (lowest, n - 1 - lowest)


def paired_p(wins: int, losses: int) -> float:
    """Exact one-sided p-value of McNemar's test: as many wins or more if a pair that differs were a fair coin.

    Args:
        wins: pairs where the first is right and the second wrong.
        losses: pairs the other way round.
    """
    _check(wins, wins + losses, CONFIDENCE)
    return float(betainc(wins, losses + 1, 0.5)) if wins else 1.0


def paired_excess(wins: int, losses: int, pairs: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound of how much more often the first of a pair is right than the second, from two exact bounds.

    Args:
        wins: pairs where the first is right and the second wrong.
        losses: pairs the other way round.
        pairs: all of them.
        confidence: of the bound; its error is shared between the two.
    """
    each = (1 + confidence) / 2
    return upper_bound(wins, pairs, each) - lower_bound(losses, pairs, each)


@dataclass(frozen=True)
class Rate:
    """A proportion with its counts and its exact (Clopper-Pearson) two-sided interval."""

    k: int
    """Samples counted."""
    n: int
    """Samples in all."""
    estimate: float | None
    """k / n; null where n is 0."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    confidence: float
    """Confidence of the interval, covering the error of sampling alone."""

    __pydantic_config__ = {"use_attribute_docstrings": True, "extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _check(self.k, self.n, self.confidence)


def rate(k: int, n: int, confidence: float = CONFIDENCE) -> Rate:
    """The rate k / n with its interval."""
    low, high = interval(k, n, confidence)
    return Rate(k, n, k / n if n else None, low, high, confidence)


def sample_size_to_decide(k: int, n: int, threshold: float, confidence: float = CONFIDENCE) -> int | None:
    """How many samples would decide whether the proportion reaches a threshold, if the estimate k / n stayed.

    Decided means that a one-sided bound at ``confidence`` clears the threshold: the lower one from above,
    or the upper one from below. Counts at larger sizes are rounded towards the threshold.

    Returns:
        ``n`` itself where it is decided already; None where no size up to ten million decides (the estimate
        equals the threshold, nothing was seen, or the threshold is 1 and nothing fell).
    """
    _check(k, n, confidence)
    if n == 0 or k == threshold * n:
        return None
    above = k > threshold * n

    def decided(size: int) -> bool:
        if above:
            return lower_bound(k * size // n, size, confidence) >= threshold
        return upper_bound(-(-k * size // n), size, confidence) < threshold

    undecided, enough = n - 1, n
    while not decided(enough):
        if enough >= LARGEST_SAMPLE:
            return None
        undecided, enough = enough, min(2 * enough, LARGEST_SAMPLE)
    while enough - undecided > 1 and enough > n:
        middle = (undecided + enough) // 2
        if decided(middle):
            enough = middle
        else:
            undecided = middle
    return enough
