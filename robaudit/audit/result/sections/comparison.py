"""What changed against an earlier audit of the same data, as a result records it."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Number, Section
from robaudit.stats.rates import Rate

__all__ = ["Baseline", "ChangedSample", "Comparison", "PairedChange", "SampleState"]

SampleState = Literal["stands", "broken", "misclassified"]
ChangeOutcome = Literal["worse", "better", "no change detected"]


class Baseline(Section):
    """The earlier audit."""

    version: str | None = None
    """Version of robaudit that made it; null where that was not recorded (before schema 1.5)."""

    run: str
    """Digest that names its run."""
    finished: str
    """When it ended, ISO 8601 with time zone."""
    file: str
    """Path of its model, as it was given."""
    sha256: str
    """Digest of its model; the same as this audit's where nothing but the audit was repeated."""
    command: str
    """Command that made it."""


class PairedChange(Section):
    """One property of the same samples in both audits, such as: it stands against all attacks."""

    pairs: int
    """Samples compared."""
    base: Rate
    """Share of them that have the property in the baseline."""
    new: Rate
    """Share of them that have it in this audit."""
    lost: int
    """Samples that had it in the baseline, and have it no more."""
    gained: int
    """Samples that did not have it, and have it now."""
    difference: Number
    """(gained - lost) / pairs: above 0 is better; null where there are no pairs."""
    low: FiniteFloat
    """Lower end of the paired interval of the difference."""
    high: FiniteFloat
    """Upper end of the interval."""
    confidence: FiniteFloat
    """Confidence of the interval. It leaves 0 out exactly where McNemar's test finds a change."""
    p_value: FiniteFloat
    """Of the exact two-sided McNemar test of no difference."""
    outcome: ChangeOutcome
    """worse or better where the test finds a change at the confidence; else no change detected, which is not the
    same as no change: the interval says how large a change may be."""


class ChangedSample(Section):
    """A sample whose fate differs between the audits."""

    id: str
    """Name of the sample."""
    index: int
    """Position in the data source."""
    base_state: SampleState
    """In the baseline: it stands, an attack broke it, or it is misclassified without one."""
    base_broken_by: str | None = None
    """The attack that broke it in the baseline, or null."""
    new_state: SampleState
    """In this audit."""
    new_broken_by: str | None = None
    """The attack that broke it in this audit, or null."""


class Comparison(Section):
    """This audit against a baseline: the same data, threat model, attacks and seed; only the model may differ.

    Left out of a result where no baseline was given. The samples are paired, so that the difference is known better
    than from two independent rates. Gates on ``regression``, ``newly_broken`` and ``clean_regression`` decide on it.
    """

    baseline: Baseline
    same_model: bool
    """Whether both audits are of the same file, byte for byte."""
    metric: Literal["robust_accuracy", "stability"]
    """What ``worst_case`` counts in both: samples that stand against all attacks."""
    worst_case: PairedChange
    """Samples that stand against all attacks."""
    clean: PairedChange | None = None
    """Samples classified correctly without an attack; null in stability mode."""
    left_out: int = 0
    """Samples that only one of the audits, or neither, could judge; they are not among the pairs."""
    share: FiniteFloat = 1.0
    """Share of the error that the intervals spend, and gates on the comparison: below 1 where one of the audits was
    sequential, whose last look spends no more."""
    newly_broken: tuple[ChangedSample, ...] = ()
    """Samples that stood in the baseline and do not stand now, in data order."""
    newly_fixed: tuple[ChangedSample, ...] = ()
    """Samples that did not stand in the baseline and stand now, in data order."""
    message: str
    """One sentence: what changed, with its statistics."""
