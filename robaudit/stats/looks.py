"""Looking at growing data again and again, with intervals that hold at whichever look one stops.

The looks are fixed before the data are seen, and so is the share of the error that each may spend; the shares add up
to 1. By the union bound all exact (Clopper-Pearson) bounds of one proportion, each at its look's share of the error,
hold together with the stated confidence, and so does the one at a look that was chosen for what was seen there. These
are the repeated confidence intervals of C. Jennison, B. W. Turnbull, "Repeated confidence intervals for group
sequential clinical trials", Controlled Clinical Trials 5 (1984), and "Interim analyses: the repeated confidence
interval approach", Journal of the Royal Statistical Society B 51 (1989), with the error spent as in K. K. G. Lan,
D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983). Nothing is approximated: the
bounds hold for every true proportion and every sample size.

Of the alternatives, a confidence sequence from a martingale (H. Robbins, "Statistical methods related to the law of
the iterated logarithm", Annals of Mathematical Statistics 41 (1970); I. Waudby-Smith, A. Ramdas, "Estimating means of
bounded random variables by betting", Journal of the Royal Statistical Society B 86 (2024)) holds without looks and
without a last sample. An audit has both: it works in chunks, and its samples are counted. At error rates of 5 %, a
gate at 50 % and at most 500 samples the uniform mixture decides 93 % of the audits of a model at 60 %, after 244
samples in the mean; these looks 99 %, after 232. Where the truth is clear of the gate they cost the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, xlog1py, xlogy

from robaudit.stats.rates import Rate, interval, lower_bound, upper_bound

__all__ = ["LAST", "Decision", "Design", "at_share", "decide", "design", "error_spent", "rate_at_share"]

FIRST = 32
"""Samples at the first look."""
GROWTH = 1.5
"""Ratio of the sample sizes of two looks."""
LAST = 0.5
"""Share of the error that the last look spends; the others share the rest equally. It decides how many audits are left
open when the data are exhausted, the rest how early the clear ones end."""

NEGLIGIBLE = 1e-30
"""Of a count: its probability is not carried on."""
LARGEST_EXACT = 20_000
"""Samples up to which the error of several looks is computed; beyond that the shares that they may spend count."""

Decision: TypeAlias = Literal["pass", "fail", "open"]


@dataclass(frozen=True)
class Design:
    """When to look, and what each look may spend.

    Args:
        sizes: samples seen at each look, rising; the last is all there are.
        shares: of the error, by look; they add up to 1.
    """

    sizes: tuple[int, ...]
    shares: tuple[float, ...]


def design(most: int, first: int = FIRST, growth: float = GROWTH, last: float = LAST) -> Design:
    """Looks in geometric distances; one alone where there are too few samples for more.

    Args:
        most: all samples, at least one.
        first: samples at the first look.
        growth: ratio of the sizes of two looks, above 1.
        last: share of the error that the last look spends, above 0 and at most 1.

    Raises:
        ValueError: a number lies outside of these limits.
    """
    if most < 1 or first < 1 or growth <= 1 or not 0 < last <= 1:
        raise ValueError(f"no looks at {most} samples from {first} in steps of {growth} with {last} of the error")
    sizes: list[int] = []
    size = float(first)
    while size * growth**0.5 < most:  # a look shortly before the last would gain little
        if not sizes or round(size) > sizes[-1]:
            sizes.append(round(size))
        size *= growth
    early = len(sizes)
    shares = [(1 - last) / early] * early + [last] if early else [1.0]
    return Design((*sizes, most), tuple(shares))


def at_share(confidence: float, share: float) -> float:
    """The confidence of a bound that spends a share of the error alone."""
    return confidence if share == 1 else 1 - (1 - confidence) * share


def decide(
    k: int,
    n: int,
    share: float,
    *,
    least: float | None = None,
    most: float | None = None,
    false_pass: float = 0.05,
    false_fail: float = 0.05,
) -> Decision:
    """Whether k of n, seen at a look, decide that the true proportion keeps its bounds.

    Args:
        k: successes among the first ``n`` samples.
        n: samples.
        share: of the error, for this look.
        least: the proportion that is to be reached, or None.
        most: the one that is not to be exceeded, or None.
        false_pass: most probability that a proportion beyond a bound ever passes.
        false_fail: most probability that one within the bound ever fails; for each bound.
    """
    low, high = partial(_bound, lower_bound, k, n, share), partial(_bound, upper_bound, k, n, share)
    if (least is not None and high(false_fail) < least) or (most is not None and low(false_fail) > most):
        return "fail"
    kept = (least is None or low(false_pass) >= least) and (most is None or high(false_pass) <= most)
    return "pass" if kept else "open"


def _bound(bound: Callable[[float, float, float], float], k: int, n: int, share: float, error: float) -> float:
    """A one-sided bound that spends a share of the error."""
    return bound(k, n, 1 - error * share)


def rate_at_share(found: Rate, share: float) -> Rate:
    """A rate with the two-sided interval that its look's share of the error allows, at the stated confidence."""
    low, high = interval(*found.evidence, at_share(found.confidence, share))
    return replace(found, low=low, high=high)


def error_spent(sizes: Sequence[int], shares: Sequence[float], bound: float, error: float) -> float:
    """The chance that looks tell of a proportion at a bound that it lies beyond it, on whichever side is likelier.

    Exact, and never above ``error`` x the sum of the shares: what counts only move in whole samples leave of it. For
    proportions within the bound the chance is smaller: fewer successes can only leave fewer looks above it.

    Args:
        sizes: samples at each look, rising.
        shares: of the error, by look.
        bound: the proportion.
        error: that all looks together may spend, for each side.
    """
    nominal = min(error, error * sum(shares))
    if not sizes or sizes[-1] == 0 or nominal <= 0:
        return 0.0
    if len(sizes) > 1 and sizes[-1] > LARGEST_EXACT:
        return nominal
    above = _ever_above(tuple(sizes), tuple(shares), bound, error)
    below = _ever_above(tuple(sizes), tuple(shares), 1 - bound, error)  # the failures, counted likewise
    return min(nominal, max(above, below))


@lru_cache(maxsize=256)
def _ever_above(sizes: tuple[int, ...], shares: tuple[float, ...], p: float, error: float) -> float:
    """The chance that the lower bound of a proportion p reaches p at one of the looks."""
    if p <= 0:
        return 0.0  # it reaches 0 rightly
    if len(sizes) == 1:
        enough = _enough(sizes[0], p, error * shares[0])
        return float(betainc(enough, sizes[0] - enough + 1, p)) if enough <= sizes[0] else 0.0
    left, least = np.ones(1), 0  # probability of each count from `least` on, of paths that no look has decided so far
    before, found = 0, 0.0
    for size, share in zip(sizes, shares, strict=True):
        if size > before:
            step, fewest = _binomial(size - before, p)
            left, least = np.convolve(left, step), least + fewest
        enough = max(0, _enough(size, p, error * share) - least)
        found += float(left[enough:].sum())
        left, before = left[:enough], size
        if not len(left):
            break
        kept = np.flatnonzero(left > NEGLIGIBLE)
        if len(kept):
            left, least = left[kept[0] :], least + int(kept[0])
    return found


def _binomial(size: int, p: float) -> tuple[NDArray[np.float64], int]:
    """Probability of each count that is not negligible, and the first of them."""
    reach = 12 * (size * p * (1 - p)) ** 0.5 + 40
    first, last = max(0, int(size * p - reach)), min(size, int(size * p + reach))
    k = np.arange(first, last + 1)
    ways = gammaln(size + 1) - gammaln(k + 1) - gammaln(size - k + 1)
    found: NDArray[np.float64] = np.exp(ways + xlogy(k, p) + xlog1py(size - k, -p))
    return found, first


def _enough(size: int, p: float, error: float) -> int:
    """The least count whose lower bound reaches p; one more than ``size`` where none does."""
    below, enough = 0, size + 1  # the chance of as many or more falls as the count grows
    while enough - below > 1:
        middle = (below + enough) // 2
        if betainc(middle, size - middle + 1, p) <= error:
            enough = middle
        else:
            below = middle
    return enough
