"""Robustness curves, as a result records them."""

from __future__ import annotations

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Norm, Number, Section

__all__ = ["Curve", "CurvePoint"]


class CurvePoint(Section):
    """What stands at one radius: an upper bound, with its exact interval."""

    eps: FiniteFloat
    """The radius, as a fraction of the domain's width (L0: number of features)."""
    k: int
    """Samples answered correctly with no adversarial example found up to this radius."""
    n: int
    """Samples in all."""
    estimate: Number
    """k / n; null where n is 0."""
    low: FiniteFloat
    """Lower end of the exact (Clopper-Pearson) interval at this radius."""
    high: FiniteFloat
    """Upper end of the interval."""


class Curve(Section):
    """Accuracy against the radius, from each sample's smallest verified distance; an upper bound at every radius."""

    norm: Norm
    """Norm of the distances."""
    attacks: tuple[str, ...]
    """Attacks whose verified successes were counted."""
    confidence: FiniteFloat
    """Confidence of all intervals, each for itself."""
    points: tuple[CurvePoint, ...]
    """The curve by rising radius: every distance at which samples fall, multiples of ``step``, and the threat model's
    radius. From one point to the next the first one's figures hold; what a radius of 0 leaves is that without an
    attack. Each interval is exact at its radius by itself."""
    step: FiniteFloat
    """Spacing of the evenly spaced points, from 0."""
    broken: int
    """Samples answered correctly for which an adversarial example was found at some distance."""
    unbroken: int
    """Samples answered correctly for which none was found at any."""
    median_distance: Number = None
    """Median over the samples answered correctly; null where for half of them none was found."""
    median_low: Number = None
    """Lower end of the median's interval (order statistics, distribution-free); null where too few samples."""
    median_high: Number = None
    """Upper end; null where it lies beyond the distances found."""
    area: Number = None
    """Area under the curve from 0 to ``area_eps``; null without samples."""
    area_eps: FiniteFloat
    """Radius that the area reaches to: that of the threat model. Divided by it, the area is a mean accuracy."""
