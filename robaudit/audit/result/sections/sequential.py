"""How a sequential audit came to its end, as a result records it."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Number, Section

__all__ = ["Look", "LookGate", "Sequential"]


class LookGate(Section):
    """A gate at one look."""

    metric: str
    """What it looks at."""
    min: Number = None
    """Least value that passes, or null."""
    max: Number = None
    """Largest value that passes, or null."""
    k: int
    """Samples counted so far."""
    n: int
    """Samples so far, of those that the goal applies to."""
    low: FiniteFloat
    """Lower one-sided bound at the gate's confidence, spending the look's share of the error."""
    high: FiniteFloat
    """Upper one-sided bound."""
    decision: Literal["pass", "fail", "open"]
    """What the bounds come to; in an incomplete or invalid audit the gate does not pass for all that."""


class Look(Section):
    """A look at the gates after a chunk of samples had been through all attacks."""

    samples: int
    """Samples drawn until then."""
    share: FiniteFloat
    """Share of the error that it may spend; those of all looks add up to 1."""
    gates: tuple[LookGate, ...] = ()
    """The gates that decide when to stop."""


class Sequential(Section):
    """An audit that ends when its gates are decided.

    Samples are audited in a random order that is fixed beforehand, in chunks; after each chunk the gates are looked
    at. All intervals of the result, and the bounds of its gates, are exact ones at the last look's share of the error:
    by the union bound over the looks they hold wherever it ends.
    """

    most: int
    """Samples that it may audit."""
    samples: int
    """Samples that it has audited; nothing else of this result counts others."""
    planned: tuple[int, ...]
    """Samples at each look that was planned."""
    stopped: Literal["decided", "exhausted", "interrupted"]
    """Why it ended: the gates were decided, the samples were exhausted, or something ended it before."""
    reason: str
    """The same in a sentence."""
    share: FiniteFloat
    """Share of the error that the last look spends, and so every interval of this result."""
    looks: tuple[Look, ...] = ()
    """The looks until then."""
