"""The price of secrecy, as a result records it: what each access costs an attacker in queries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Access, Norm, Number, Section

__all__ = ["AccessCurve", "Price", "QueryPoint", "Secrecy"]

Count = Annotated[int, Field(ge=0)]


class Price(Section):
    """What a sample cost an attacker with one access, who got through."""

    attack: str
    """The attack of that access that broke it; its norm and access are those of the price."""
    queries: Count
    """Queries until then, those of the access's attacks before it among them. With transfer: candidates that had been
    thrown before and failed."""
    distance: FiniteFloat
    """Distance of the adversarial example, in that norm."""


class QueryPoint(Section):
    """What stands after so many queries for each sample: an upper bound, with its exact interval."""

    queries: Count
    """Queries for each sample."""
    k: int
    """Samples answered correctly that nobody with this access broke within so many queries."""
    n: int
    """Samples in all."""
    estimate: Number
    """k / n; null where n is 0."""
    low: FiniteFloat
    """Lower end of the exact (Clopper-Pearson) interval at this number of queries."""
    high: FiniteFloat
    """Upper end of the interval."""


class AccessCurve(Section):
    """Accuracy against queries for an attacker with one access, who can do too what one with less can."""

    access: Access
    """What the attacker may ask of the target."""
    attacks: tuple[str, ...]
    """Attacks with this access, in order; a sample's queries are counted along them. The curve counts what the attacks
    of the curves before it broke too, each sample at its smallest number of queries."""
    main: bool
    """Whether they are the audit's own cascade, and not one that ran for this curve."""
    complete: bool
    """Whether all of them, and of the curves before, came to their end."""
    queries: int | None
    """Queries for each sample that the curve reaches to; null for white box, which needs none."""
    points: tuple[QueryPoint, ...]
    """The curve by rising numbers of queries: 0, 1, 2, 5, 10, ..., its end, and each number at which samples fall. From
    one point to the next the first one's figures hold. For white box one point: what all attacks left."""
    broken: int
    """Samples answered correctly that fell."""
    unbroken: int
    """Samples answered correctly that did not."""
    median_queries: Number = None
    """Median over all samples answered correctly, those that did not fall counted as beyond the curve's end; null where
    it lies there, and for white box."""
    median_low: Number = None
    """Lower end of the median's interval (order statistics, distribution-free); null where unknown, or beyond."""
    median_high: Number = None
    """Upper end, likewise."""
    mean_queries: Number = None
    """Mean over all samples answered correctly, those that did not fall counted with ``queries``: where there are any,
    a lower bound. Null without samples, and for white box."""


class Secrecy(Section):
    """What it costs an attacker in one norm not to have more access."""

    norm: Norm
    """Norm of the threat model."""
    confidence: FiniteFloat
    """Confidence of all intervals, each for itself."""
    curves: tuple[AccessCurve, ...]
    """One for each access that had attacks, from the least to the most."""
