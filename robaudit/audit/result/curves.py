"""From the smallest verified distance of each sample to the whole robustness curve."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence

from robaudit.audit.result.document import Curve, CurvePoint, Norm
from robaudit.stats.looks import at_share, rate_at_share
from robaudit.stats.rates import CONFIDENCE, median_ranks, rate
from robaudit.threat.arrays import TOLERANCE

__all__ = ["build_curve", "median_with_interval"]

EVEN = 12
"""Most evenly spaced points."""


def build_curve(
    norm: Norm,
    eps: float,
    distances: Mapping[int, float],
    correct: int,
    n: int,
    attacks: Sequence[str],
    share: float = 1.0,
) -> Curve:
    """The curve of a norm.

    Args:
        norm: of the distances.
        eps: radius of the threat model.
        distances: smallest verified distance by sample, of those answered correctly.
        correct: samples answered correctly.
        n: samples in all; those answered wrongly stand at no radius.
        attacks: keys of the attacks that were counted.
        share: of their error that the intervals spend, less than 1 at the looks of a sequential audit.
    """
    ordered = sorted(distances.values())
    padded = ordered + [math.inf] * (correct - len(ordered))
    median, low, high = median_with_interval(padded, at_share(CONFIDENCE, share))
    # at an observed distance the sample itself has fallen, so that between two points the first one's figures hold
    step, most = _spacing(eps, ordered, whole=norm == "l0")
    radii = sorted({eps, *ordered, *(round(step * i, 12) for i in range(most + 1) if not math.isclose(step * i, eps))})
    return Curve(
        norm=norm,
        attacks=tuple(attacks),
        confidence=CONFIDENCE,
        step=step,
        points=tuple(_points(radii, padded, n, share)),
        broken=len(ordered),
        unbroken=correct - len(ordered),
        median_distance=median,
        median_low=low,
        median_high=high,
        area=sum(min(d, eps) for d in padded) / n if n else None,
        area_eps=eps,
    )


def _points(radii: Sequence[float], ordered: Sequence[float], n: int, share: float) -> Iterator[CurvePoint]:
    """The curve at rising radii; distances by rising size."""
    for radius in radii:
        stands = len(ordered) - bisect.bisect_right(ordered, radius + TOLERANCE)
        found = rate_at_share(rate(stands, n), share)
        yield CurvePoint(eps=radius, k=found.k, n=n, estimate=found.estimate, low=found.low, high=found.high)


def _spacing(eps: float, ordered: Sequence[float], *, whole: bool) -> tuple[float, int]:
    """Spacing of the even points and their number: past ε and past where half of the samples that fell at some distance
    have fallen, or as far as most samples reach if that is less.
    """
    reach = 2 * eps
    if ordered:
        reach = max(reach, 1.2 * ordered[(len(ordered) - 1) // 2])
        reach = min(reach, 1.2 * ordered[math.ceil(0.9 * len(ordered)) - 1] or reach)
    rough = reach / EVEN
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= rough * (1 - 1e-9))
    step = float(max(1, math.ceil(step))) if whole else step
    return step, math.ceil(reach / step - 1e-9)


def median_with_interval(
    ordered: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float | None, float | None, float | None]:
    """Median and the ends of its interval, None where infinite or unknown.

    Args:
        ordered: distances by rising size, infinite ones last.
        confidence: of the interval.
    """
    n = len(ordered)
    if n == 0:
        return None, None, None
    ranks = median_ranks(n, confidence)
    ends = (None, None) if ranks is None else (ordered[ranks[0]], ordered[ranks[1]])
    low, high = (None if end is None or math.isinf(end) else end for end in ends)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return (None if math.isinf(middle) else middle), low, high
