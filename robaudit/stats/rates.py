"""Exact binomial statistics: intervals, one-sided bounds, paired tests, the sample size that would decide a gate.

All intervals are those of C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
illustrated in the case of the binomial", Biometrika 26 (1934), written as quantiles of the beta distribution.
They cover the error of sampling only: a stronger attack than those tried is outside of what they can say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import betainc, betaincinv

__all__ = [
    "CONFIDENCE",
    "Rate",
    "interval",
    "lower_bound",
    "mean_lower_bound",
    "mean_size_to_decide",
    "median_rank",
    "median_ranks",
    "paired_excess",
    "paired_p",
    "rate",
    "sample_size_to_decide",
    "smallest_size",
    "upper_bound",
    "weighted_rate",
]

CONFIDENCE = 0.95
LARGEST_SAMPLE = 10_000_000


def _check(k: float, n: float, confidence: float) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count of successes")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")


def lower_bound(k: float, n: float, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Clopper-Pearson bound of a proportion; 0 where nothing was seen."""
    _check(k, n, confidence)
    return float(betaincinv(k, n - k + 1, 1 - confidence)) if k else 0.0


def upper_bound(k: float, n: float, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Clopper-Pearson bound of a proportion; 1 where nothing was seen."""
    _check(k, n, confidence)
    return float(betaincinv(k + 1, n - k, confidence)) if k < n else 1.0


def interval(k: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval, equal tails; (0, 1) where nothing was seen."""
    tail = (1 + confidence) / 2
    _check(k, n, confidence)
    return lower_bound(k, n, tail), upper_bound(k, n, tail)


def median_rank(n: int, confidence: float = CONFIDENCE) -> int | None:
    """Place, from 0, of the order statistic of n values that is a one-sided lower bound of their source's median.

    Distribution-free and conservative: the number of values below the median is binomial with n and 1/2 (H. A.
    David, H. N. Nagaraja, "Order Statistics", 2003, section 7.1). The upper bound is at the same place from the end.

    Returns:
        None where n is too small for any place to reach the confidence.
    """
    lowest = None
    for below in range((n + 1) // 2):  # P(at most `below` values lie below the median) = I_1/2(n - below, below + 1)
        if float(betainc(n - below, below + 1, 0.5)) > 1 - confidence:
            break
        lowest = below
    return lowest


def median_ranks(n: int, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """Places, from 0, of the order statistics of n values between which the median of their source lies.

    Returns:
        None where n is too small for any pair to reach the confidence; else the two of :func:`median_rank`.
    """
    lowest = median_rank(n, (1 + confidence) / 2)
    return None if lowest is None else (lowest, n - 1 - lowest)


def mean_lower_bound(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the mean of a source of values in [0, 1], whatever its distribution.

    T. W. Anderson, "Confidence limits for the expected value of an arbitrary bounded random variable", 1969, with the
    one-sided band of P. Massart, Annals of Probability 18 (1990). The upper bound is 1 less that of 1 - value.

    Raises:
        ValueError: a value outside of [0, 1], or a confidence below one half.
    """
    _check(0, len(values), confidence)
    if not all(0 <= value <= 1 for value in values) or confidence < 0.5:
        raise ValueError("values lie between 0 and 1, and the confidence is at least 0.5")
    return _anderson(sorted(values), len(values), confidence)


def _anderson(ordered: Sequence[float], size: int, confidence: float) -> float:
    """The bound, if the values were those of a sample of ``size`` with the same distribution."""
    n = len(ordered)
    if n == 0:
        return 0.0
    whole, part = divmod(n * (1 - min(1.0, math.sqrt(-math.log(1 - confidence) / (2 * size)))), 1)
    kept = int(whole)  # the band is as wide as if the largest values, beyond these, were 0
    return (math.fsum(ordered[:kept]) + (part * ordered[kept] if kept < n else 0.0)) / n


def mean_size_to_decide(values: Sequence[float], threshold: float, confidence: float = CONFIDENCE) -> int | None:
    """How many samples would decide whether a mean reaches a threshold, if the distribution of the values stayed.

    Returns:
        None where no size up to ten million does.
    """
    n = len(values)
    if n == 0:
        return None
    ordered, mirrored = sorted(values), sorted(1 - value for value in values)
    if math.fsum(values) > threshold * n:
        return smallest_size(lambda size: _anderson(ordered, size, confidence) >= threshold, n)
    return smallest_size(lambda size: 1 - _anderson(mirrored, size, confidence) < threshold, n)


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
    effective: float | None = None
    """Distinct inputs that would be as much evidence as the samples, where copies are among these; the interval is that
    of so many. Null: all samples are distinct."""

    __pydantic_config__ = {"use_attribute_docstrings": True, "extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _check(self.k, self.n, self.confidence)

    @property
    def evidence(self) -> tuple[float, float]:
        """Successes and size of a sample of distinct inputs that is as much evidence, for bounds."""
        if self.effective is None:
            return self.k, self.n
        return self.k * self.effective / self.n, self.effective


def rate(k: int, n: int, confidence: float = CONFIDENCE) -> Rate:
    """The rate k / n with its interval."""
    low, high = interval(k, n, confidence)
    return Rate(k, n, k / n if n else None, low, high, confidence)


def weighted_rate(weights: Sequence[int], successes: Sequence[bool], confidence: float = CONFIDENCE) -> Rate:
    """The rate of samples of which some are copies, with an interval that counts copies as no further evidence.

    The interval is that of Kish's effective size, the square of the sum over the sum of squares (L. Kish, "Survey
    Sampling", 1965, section 11.7), at the same share.

    Args:
        weights: samples that each distinct input stands for.
        successes: of each distinct input.
        confidence: of the interval.
    """
    k, n = sum(w for w, success in zip(weights, successes, strict=True) if success), sum(weights)
    if n == len(weights):
        return rate(k, n, confidence)
    effective = n * n / sum(w * w for w in weights)
    low, high = interval(k * effective / n, effective, confidence)
    return Rate(k, n, k / n, low, high, confidence, effective)


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

    return smallest_size(decided, n)


def smallest_size(decided: Callable[[int], bool], n: int, largest: int = LARGEST_SAMPLE) -> int | None:
    """The smallest size from ``n`` on that decides, given that larger ones do too; None beyond ``largest``."""
    undecided, enough = n - 1, n
    while not decided(enough):
        if enough >= largest:
            return None
        undecided, enough = enough, min(2 * enough, largest)
    while enough - undecided > 1 and enough > n:
        middle = (undecided + enough) // 2
        if decided(middle):
            enough = middle
        else:
            undecided = middle
    return enough
