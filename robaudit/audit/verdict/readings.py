"""Estimates with exact one-sided bounds, which is what gates decide on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from robaudit.plural import counted
from robaudit.stats.looks import error_spent
from robaudit.stats.paired import paired_lower_bound, paired_size_to_decide, paired_upper_bound
from robaudit.stats.rates import (
    Rate,
    lower_bound,
    mean_lower_bound,
    mean_size_to_decide,
    median_rank,
    sample_size_to_decide,
    upper_bound,
)

__all__ = ["Reading", "exact", "of_mean", "of_median", "of_pairs", "of_rate", "percent"]


@dataclass(frozen=True)
class Reading:
    """An estimate.

    Args:
        said: the estimate in words, such as ``41 of 100``.
        low: confidence -> one-sided lower bound, ``high`` the upper one.
        needed: bound, confidence -> samples that would decide if the estimate stayed; None: no number would, or there
            is no sampling in it.
        figure: a value in words.
        rate: where it is one; else ``value``.
        final: which bound more evidence cannot help any more once the estimate misses it: an attack that was not run
            could only lower what stands.
        unattacked: it says nothing of attacks, so that missing ones do not matter.
        sampled: it has an interval; else both bounds are the value itself.
        n: samples that it is of, which may be some of those drawn; 0 where that does not matter.
        spends: bound, error -> the part of the error that a test on so many samples can really spend; None where that
            is not known.
    """

    said: str
    low: Callable[[float], float]
    high: Callable[[float], float]
    needed: Callable[[float, float], int | None]
    figure: Callable[[float], str]
    rate: Rate | None = None
    value: float | None = None
    final: Literal["min", "max"] | None = "min"
    unattacked: bool = False
    sampled: bool = True
    n: int = 0
    spends: Callable[[float, float], float] | None = None


def percent(value: float) -> str:
    """A share in words."""
    return f"{value:.1%}"


def _size(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "beyond all that was found"


def of_rate(found: Rate, final: Literal["min", "max"] | None = "min", *, unattacked: bool = False) -> Reading:
    """A share, with Clopper and Pearson's bounds."""
    k, n = found.evidence  # copies of an input are no further evidence
    size = math.floor(n)
    return Reading(
        f"{found.k} of {found.n}",
        lambda confidence: lower_bound(k, n, confidence),
        lambda confidence: upper_bound(k, n, confidence),
        lambda bound, confidence: sample_size_to_decide(min(round(k), size), size, bound, confidence),
        percent,
        rate=found,
        final=final,
        unattacked=unattacked,
        n=size,
        spends=lambda bound, error: error_spent([size], [1.0], bound, error),
    )


def of_median(values: Sequence[float], what: str, final: Literal["min", "max"] | None = "min") -> Reading:
    """The median of the source of some values, infinite ones among them, with order statistics as bounds."""
    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2

    def end(confidence: float, *, upper: bool) -> float:
        place = median_rank(n, confidence)
        if place is None:
            return math.inf if upper else 0.0
        return ordered[n - 1 - place if upper else place]

    def needed(bound: float, confidence: float) -> int | None:
        # a median reaches the bound where at least half of the source does
        return sample_size_to_decide(sum(value >= bound for value in ordered), n, 0.5, confidence)

    return Reading(
        f"{what} {_size(middle)} over {counted(n, 'sample')}",
        lambda confidence: end(confidence, upper=False),
        lambda confidence: end(confidence, upper=True),
        needed,
        _size,
        value=middle if math.isfinite(middle) else None,
        final=final,
        n=n,
        spends=lambda _, error: error_spent([n], [1.0], 0.5, error),
    )


def of_mean(values: Sequence[float], what: str) -> Reading:
    """The mean of a source of values between 0 and 1, whatever its distribution."""
    mean = math.fsum(values) / len(values)
    mirrored = [1 - value for value in values]
    return Reading(
        f"{what} {percent(mean)} over {counted(len(values), 'sample')}",
        lambda confidence: mean_lower_bound(values, max(confidence, 0.5)),
        lambda confidence: 1 - mean_lower_bound(mirrored, max(confidence, 0.5)),
        lambda bound, confidence: mean_size_to_decide(values, bound, max(confidence, 0.5)),
        percent,
        value=mean,
    )


def exact(value: float, what: str, final: Literal["min", "max"] | None = None) -> Reading:
    """A value without an interval."""
    return Reading(
        what,
        lambda _: value,
        lambda _: value,
        lambda *_: None,
        _size,
        value=value,
        final=final,
        sampled=False,
    )


def of_pairs(lost: int, gained: int, pairs: int, what: str, *, unattacked: bool) -> Reading:
    """A loss: the samples that the new audit lacks, less those that it gained."""
    return Reading(
        f"{what} {percent((lost - gained) / pairs)} ({lost} lost, {gained} gained, of {pairs})",
        lambda confidence: paired_lower_bound(lost, gained, pairs, confidence),
        lambda confidence: paired_upper_bound(lost, gained, pairs, confidence),
        lambda bound, confidence: paired_size_to_decide(lost, gained, pairs, bound, confidence),
        percent,
        value=(lost - gained) / pairs,
        final=None if unattacked else "max",
        unattacked=unattacked,
    )
