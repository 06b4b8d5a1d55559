"""Gates and what they came to, as a result records them."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import GateStatus, Number, Section
from robaudit.stats.rates import Rate

__all__ = ["EarlierTests", "Exemption", "Gate"]


class Exemption(Section):
    """An exception to a gate."""

    reason: str
    """Why."""
    until: str
    """Last day on which it holds, ISO 8601."""
    active: bool
    """Whether it held when the gates were judged (``verdict.judged``): an expired one counts as not there."""


class EarlierTests(Section):
    """What earlier audits of the same model on the same data, against the same attacks, have spent of a gate's error.

    They are those that run directories beside this one, and in ``.robaudit``, tell of.
    """

    figure: str
    """What was tested."""
    tests: int
    """Earlier audits that tested it."""
    error: FiniteFloat
    """Sum of the chances, at most, that each decided falsely."""
    allowed: FiniteFloat
    """The error that their gate allowed, of several the largest: all tests together keep to that, or to the error of
    the gate that is tested now if that is larger."""


class Gate(Section):
    """A gate and how it was decided."""

    metric: str
    """What it looks at."""
    min: Number = None
    """Least value that passes, or null."""
    max: Number = None
    """Largest value that passes, or null."""
    level: Literal["error", "warn"] = "error"
    """Whether it decides the exit code."""
    confidence: FiniteFloat
    """Confidence of the exact one-sided bounds."""
    status: GateStatus
    """pass, fail, inconclusive (too few samples), or invalid (cannot be judged)."""
    observed: Rate | None = None
    """The rate it looked at, or null."""
    value: Number = None
    """The value where it is no rate, or null."""
    samples_needed: int | None = None
    """Samples with which this test would have decided it at the same estimate; null where decided or out of reach. To
    audit the same model again with so many is a further test: see ``further_samples``."""
    earlier: int = 0
    """Earlier tests of the same model on the same data; this one may spend what they left of the error."""
    spent: Number = None
    """The chance, at most, that this test decides falsely; null where it is not known."""
    further_samples: int | None = None
    """Of an open gate: samples with which a further test on the same data would decide it at the same estimate, though
    it may spend no more than the error that is left; null where decided, out of reach, or nothing is left."""
    further_confidence: Number = None
    """Of an open gate: the confidence that a further test must have, so that all tests together keep the gate's; null
    where nothing is left for one."""
    ignore: Exemption | None = None
    """An exception to it, or null; while it is active the gate does not count, whatever its status."""
    message: str
    """One sentence."""
