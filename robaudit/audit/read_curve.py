"""What a result's curves say: accuracy at any radius, the median distance, the area.

The first norm's smallest distances are those of the samples; of further norms a result holds the curve alone.
"""

from __future__ import annotations

import math

from robaudit.audit.metrics import Metric
from robaudit.audit.readings import Reading, exact, of_mean, of_median, of_rate, percent
from robaudit.audit.result import Curve, Result
from robaudit.audit.specs import parse_eps
from robaudit.stats import Rate, lower_bound, rate, upper_bound
from robaudit.threat.arrays import TOLERANCE

__all__ = ["Unreadable", "at_radius", "curve_area", "median_distance"]


class Unreadable(Exception):  # noqa: N818
    """The result does not say; the text says why."""


def at_radius(metric: Metric, result: Result) -> Reading:
    """Share of the samples that stand at a radius.

    Raises:
        Unreadable: it is not the threat model's, and there is no curve.
    """
    norm = metric.norm or result.threat_model.norm
    eps = parse_eps(metric.eps or "", norm)
    own = {result.threat_model.norm: result.threat_model.eps} | {o.norm: o.eps for o in result.threat_model.also}
    if norm in own and math.isclose(own[norm], eps, rel_tol=1e-12):
        return of_rate(_at_own_radius(norm, result))
    curve = _curve(norm, result)
    distances = _distances(curve, result)
    if distances is not None:
        n = sum(sample.counted for sample in result.samples)
        return of_rate(rate(sum(d > eps + TOLERANCE for d in distances), n))
    # accuracy only falls with the radius, so that it lies between that of the points on both sides
    before = max((p for p in curve.points if p.eps <= eps), key=lambda p: p.eps)
    after = min((p for p in curve.points if p.eps >= eps), key=lambda p: p.eps, default=None)
    n, most, least = before.n, before.k, after.k if after is not None else 0
    return Reading(
        f"{f'{least} to ' if least < most else ''}{most} of {n}",
        lambda confidence: lower_bound(least, n, confidence),
        lambda confidence: upper_bound(most, n, confidence),
        lambda *_: None,
        percent,
        rate=rate(most, n),
    )


def _at_own_radius(norm: str, result: Result) -> Rate:
    found = [outcome.upper_bound_observed for outcome in result.threats if outcome.norm == norm]
    return found[0] if found else result.worst_case.upper_bound_observed


def median_distance(metric: Metric, result: Result) -> Reading:
    """Median of the smallest distances, of the samples answered correctly.

    Raises:
        Unreadable: there is no curve, no sample, or an interval at the confidence of the curve alone.
    """
    curve = _curve(metric.norm or result.threat_model.norm, result)
    if curve.broken + curve.unbroken == 0:
        raise Unreadable("no sample was answered correctly, so there is no median distance")
    distances = _distances(curve, result)
    if distances is not None:
        return of_median(distances, "median distance")
    widest = (1 + curve.confidence) / 2

    def end(confidence: float, value: float | None, beyond: float) -> float:
        return beyond if value is None or confidence > widest else value

    middle = curve.median_distance
    return Reading(
        f"median distance {'beyond all that was found' if middle is None else f'{middle:.4g}'}",
        lambda confidence: end(confidence, curve.median_low, 0.0),
        lambda confidence: end(confidence, curve.median_high, math.inf),
        lambda *_: None,
        lambda value: f"{value:.4g}" if math.isfinite(value) else "beyond all that was found",
        value=middle,
    )


def curve_area(metric: Metric, result: Result) -> Reading:
    """Mean accuracy over the radii from 0 to the threat model's.

    Raises:
        Unreadable: there is no curve, or no sample.
    """
    curve = _curve(metric.norm or result.threat_model.norm, result)
    if curve.area is None:
        raise Unreadable("no sample was audited, so there is no area")
    distances = _distances(curve, result)
    if distances is None:
        return exact(curve.area / curve.area_eps, "mean accuracy over the radii, without an interval", "min")
    wrong = sum(sample.counted for sample in result.samples) - len(distances)
    heights = [min(distance / curve.area_eps, 1.0) for distance in distances] + [0.0] * wrong
    return of_mean(heights, "mean accuracy")


def _curve(norm: str, result: Result) -> Curve:
    if not result.curves:
        raise Unreadable("this audit has no curve: --curve searches each sample's smallest distance")
    for curve in result.curves:
        if curve.norm == norm:
            return curve
    raise Unreadable(f"this audit has no curve in {norm}")


def _distances(curve: Curve, result: Result) -> list[float] | None:
    """Smallest distance of each sample answered correctly, infinite where none was found; None of further norms."""
    if curve.norm != result.threat_model.norm:
        return None
    found = [s.smallest_distance for s in result.samples if s.counted and s.correct]
    distances = [math.inf if distance is None else distance for distance in found]
    known = sum(map(math.isfinite, distances)) == curve.broken and len(distances) == curve.broken + curve.unbroken
    return distances if known else None
