"""What a result's curves say, from its samples' smallest distances: accuracy at any radius, the median, the area."""

from __future__ import annotations

import math

from robaudit.audit.config.metrics import Metric
from robaudit.audit.config.specs import parse_eps
from robaudit.audit.result.derive import smallest_in
from robaudit.audit.result.document import Curve, Result
from robaudit.audit.verdict.readings import Reading, of_mean, of_median, of_rate
from robaudit.stats.rates import Rate, rate
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
    _curve(norm, result)
    distances = smallest_in(result, norm)
    n = sum(sample.counted for sample in result.samples)
    return of_rate(rate(sum(d > eps + TOLERANCE for d in distances), n))


def _at_own_radius(norm: str, result: Result) -> Rate:
    found = [outcome.upper_bound_observed for outcome in result.threats if outcome.norm == norm]
    return found[0] if found else result.worst_case.upper_bound_observed


def median_distance(metric: Metric, result: Result) -> Reading:
    """Median of the smallest distances, of the samples answered correctly.

    Raises:
        Unreadable: there is no curve, or no sample.
    """
    curve = _curve(metric.norm or result.threat_model.norm, result)
    distances = smallest_in(result, curve.norm)
    if not distances:
        raise Unreadable("no sample was answered correctly, so there is no median distance")
    return of_median(distances, "median distance")


def curve_area(metric: Metric, result: Result) -> Reading:
    """Mean accuracy over the radii from 0 to the threat model's.

    Raises:
        Unreadable: there is no curve, or no sample.
    """
    curve = _curve(metric.norm or result.threat_model.norm, result)
    if curve.area is None:
        raise Unreadable("no sample was audited, so there is no area")
    distances = smallest_in(result, curve.norm)
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
