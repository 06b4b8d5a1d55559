"""What attacks, checks and gates found, as a result records it."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.sections.base import Access, AttackStatus, CheckStatus, Free, GateStatus, Goal, Norm, Number, Record
from robaudit.stats import Rate

__all__ = [
    "Attack",
    "AuditFailure",
    "Check",
    "Clean",
    "Evidence",
    "Exemption",
    "Gate",
    "Pairs",
    "Sample",
    "Threat",
    "WorstCase",
]


class Radius(Record):
    """A ball of another norm that the attacker may choose instead."""

    norm: Norm
    """Norm of the perturbation."""
    eps: FiniteFloat
    """Radius as a fraction of the domain's width (L0: number of features)."""
    eps_text: str
    """The radius as it was written."""


class Threat(Record):
    """What the attacker may do."""

    norm: Norm
    """Norm of the perturbation."""
    eps: FiniteFloat
    """Radius as a fraction of the domain's width (L0: number of features)."""
    eps_text: str
    """The radius as it was written, such as 8/255."""
    eps_default: bool = False
    """Whether nobody chose the radius."""
    also: tuple[Radius, ...] = ()
    """Further balls, of other norms: an adversarial example may lie in any one of them (their union)."""
    goal: str = "untargeted"
    """What counts as a success, as it was written: untargeted (any wrong class), random, least-likely, second-likely,
    class:NAME, given, every or every:N."""
    goal_words: str = "any wrong class"
    """What an input is made to answer, in words."""
    access: tuple[Access, ...] = ()
    """Kinds of access that the attacks of this audit used."""
    queries: int | None = None
    """Most queries for each sample (of a goal ``every``: for each of its classes) that a black-box attack may spend;
    null leaves it to the attack."""
    domain: str = "the box of valid inputs"
    """The set that adversarial inputs stay in, besides the ball."""


class Clean(Record):
    """The model without an attacker."""

    accuracy: Rate | None
    """Share of drawn samples classified correctly; null in stability mode."""
    declared: Number = None
    """Accuracy that the owner declared, or null."""


class Pairs(Record):
    """Pairs of a sample and a class that it is to be made to answer, of a goal ``every``.

    The classes of one sample do not fall independently of each other, so that no interval is given.
    """

    tried: int
    """Pairs that were sought, of samples classified correctly."""
    reached: int
    """Of those, pairs where the judge confirmed that answer."""
    share: Number = None
    """Share of the pairs that were reached; null where there are none."""


class WorstCase(Record):
    """The union of all attacks, sample by sample."""

    metric: Literal["robust_accuracy", "stability"]
    """What is measured: robust accuracy against labels, or stability of the model's own answers."""
    robust_accuracy: Rate | None = None
    """Share of drawn samples that are classified correctly and unbroken: an upper bound on the truth. With a goal
    unbroken means: not made to answer its class, nor one of them; samples that the goal leaves out do not count.
    Null where the headline is withheld, the audit is incomplete, or the metric is stability."""
    stability: Rate | None = None
    """The same against the model's own answers; null unless the metric is stability."""
    upper_bound_observed: Rate
    """What was observed so far, always given: valid as an upper bound only, and not to be quoted where
    the headline is withheld."""
    pairs: Pairs | None = None
    """Over all attacks; null unless the goal is ``every``."""


class ThreatOutcome(Record):
    """One of several threat models by itself: its attacks ran on every sample that was answered correctly."""

    norm: Norm
    """Norm of the perturbation."""
    eps: FiniteFloat
    """Radius as a fraction of the domain's width (L0: number of features)."""
    eps_text: str
    """The radius as it was written."""
    attacks: tuple[str, ...]
    """Its attacks, by id."""
    broken: int
    """Samples that fell in this norm."""
    broken_here_alone: int
    """Of those, samples that fell in no other norm of the audit."""
    upper_bound_observed: Rate
    """Share of drawn samples that are classified correctly and stand in this norm: as in the worst case an upper
    bound, and not to be quoted where the headline is withheld."""
    median_distance: Number = None
    """Median distance over the samples that fell, in its norm; null where none did."""


class SampleBreach(Record):
    """How a sample fell in one norm."""

    norm: Norm
    """The norm."""
    attack: str
    """The first attack that broke it there."""
    distance: Number
    """Distance of the adversarial example, in that norm."""
    prediction: int
    """What the file answers to it."""


class Attack(Record):
    """One attack of the cascade; it ran on what the attacks before it left standing."""

    id: str
    """Name of the attack."""
    name: str
    """Name for people."""
    access: Access
    """What it may ask of the target."""
    status: AttackStatus
    """done; partial; skipped (does not apply); unavailable (the target cannot serve it); failed; not run."""
    reason: str | None = None
    """Why the status is not done."""
    parameters: Free = {}
    """Resolved parameters."""
    norm: Norm
    """Norm it ran in."""
    eps: FiniteFloat
    """Radius it ran at."""
    goal: Goal = "untargeted"
    """Whether it had to reach a certain class; the threat model says which."""
    seed: int
    """Seed of its random numbers."""
    attempted: int = 0
    """Samples it was tried on."""
    broken: int = 0
    """Of those, samples that the judge confirmed fooled."""
    newly_broken: int = 0
    """Of those, samples that no earlier attack of its norm broke."""
    pairs: Pairs | None = None
    """What it was tried on and reached; null unless the goal is ``every``."""
    cumulative_robust_accuracy: Rate | None = None
    """What stands after this and all earlier attacks of its norm, of all drawn samples; null if it did not run."""
    rate_alone: Rate | None = None
    """What stands after this attack alone, of all drawn samples; null unless it saw every one that was
    classified correctly."""
    median_distance: Number = None
    """Median distance over the samples it broke, in its norm."""
    forwards: int = 0
    """Forward passes of the model for single inputs, oracles and judge left out."""
    backwards: int = 0
    """Backward passes for single inputs."""
    queries: int = 0
    """Score or label queries."""
    judge_queries: int = 0
    """Inputs that the judge classified."""
    seconds: FiniteFloat = 0.0
    """Wall time."""
    candidates_refused: int = 0
    """Candidates that the judge did not confirm on the original file."""


class Check(Record):
    """A test of the audit itself; one that fails withholds the headline."""

    id: str
    """Name of the check."""
    status: CheckStatus
    """pass, warn, fail or skipped."""
    value: Number = None
    """What was measured, or null."""
    threshold: Number = None
    """What it was compared with, or null."""
    message: str
    """One sentence: what was found, and what it means."""


class Exemption(Record):
    """An exception to a gate."""

    reason: str
    """Why."""
    until: str
    """Last day on which it holds, ISO 8601."""
    active: bool
    """Whether it held when the gates were judged (``verdict.judged``): an expired one counts as not there."""


class Gate(Record):
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
    """Samples that would decide it if the estimate stayed; null where decided or out of reach."""
    ignore: Exemption | None = None
    """An exception to it, or null; while it is active the gate does not count, whatever its status."""
    message: str
    """One sentence."""


class Evidence(Record):
    """The adversarial examples kept."""

    path: str | None = None
    """Path of the archive, relative to the run directory; null if there is none."""
    sha256: str | None = None
    """Digest of the archive."""
    count: int = 0
    """Number of adversarial examples."""


class AuditFailure(Record):
    """Something that went wrong."""

    where: str
    """Part of the audit."""
    message: str
    """One sentence."""
    sample: str | None = None
    """Sample it cost, or null."""
    attack: str | None = None
    """Attack it cost, or null."""


class Sample(Record):
    """What became of one sample."""

    id: str
    """Name of the sample, such as its file's path in the data folder."""
    index: int
    """Position in the data source."""
    label: int | None
    """Reference class; null where it could not be read."""
    clean_prediction: int | None
    """What the file answers unperturbed; null where it gave no finite answer."""
    broken_by: str | None = None
    """The first attack that broke it, or null; of several norms in the order of the audit."""
    adversarial_prediction: int | None = None
    """What the file answers to the adversarial example, or null."""
    distance: Number = None
    """Distance of the adversarial example, or null."""
    smallest_distance: Number = None
    """With a curve: the smallest distance of a verified adversarial example, outside of the ball too, or null."""
    smallest_by: str | None = None
    """The attack that found it first, or null."""
    breaches: tuple[SampleBreach, ...] = ()
    """With several threat models: how it fell in each norm that broke it."""
    distance_8bit: Number = None
    """The same after rounding to 8 bits towards the original, if that still fools; else null."""
    targets: tuple[int, ...] = ()
    """Classes that it was to be made to answer; none in an untargeted audit, or where the goal leaves it out."""
    reached: tuple[int, ...] = ()
    """Of those, classes that it was made to answer."""
    left_out: str | None = None
    """Why the goal does not apply to it, or null."""
    queries: int = 0
    """Score and label queries spent on it, by all attacks."""
    error: str | None = None
    """Why it could not be audited, or null."""
    counted: bool = True
    """Whether the worst case counts it: it could be read, and the goal applies to it."""

    @property
    def correct(self) -> bool:
        """Whether the file answers it correctly without an attack."""
        return self.clean_prediction is not None and self.clean_prediction == self.label

    @property
    def stands(self) -> bool:
        """Whether it is answered correctly, and nothing broke it."""
        return self.counted and self.correct and self.broken_by is None
