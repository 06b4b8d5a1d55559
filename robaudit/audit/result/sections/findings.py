"""What attacks and checks found, as a result records it."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import (
    Access,
    AttackStatus,
    CheckStatus,
    Free,
    Goal,
    Norm,
    Number,
    Section,
)
from robaudit.audit.result.sections.queries import Queried
from robaudit.stats.rates import Rate

__all__ = [
    "Attack",
    "AuditFailure",
    "Check",
    "Clean",
    "Evidence",
    "Fit",
    "Pairs",
    "PlugInCheck",
    "PlugInRule",
    "WorstCase",
]

Count = Annotated[int, Field(ge=0)]


class Clean(Section):
    """The model without an attacker."""

    accuracy: Rate | None
    """Share of drawn samples classified correctly; null in stability mode."""
    declared: Number = None
    """Accuracy that the owner declared, or null."""
    rejected: Count = 0
    """Drawn samples that the service rejects, as their top probability is too low; none counts as correct."""


class Pairs(Section):
    """Pairs of a sample and a class that it is to be made to answer, of a goal ``every``.

    The classes of one sample do not fall independently of each other, so that no interval is given.
    """

    tried: int
    """Pairs that were sought, of samples classified correctly."""
    reached: int
    """Of those, pairs where the judge confirmed that answer."""
    share: Number = None
    """Share of the pairs that were reached; null where there are none."""


class WorstCase(Section):
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


class Attack(Section):
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
    """Why the status is not done; of one that is done, why it did not run on all that stood."""
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
    query_budget: int | None = None
    """Most queries for a sample; null where it asks none, or cannot say."""
    queried: Queried | None = None
    """What they came to, sample by sample; null where it asked none."""
    judge_queries: int = 0
    """Inputs that the judge classified."""
    seconds: FiniteFloat = 0.0
    """Wall time."""
    candidates_refused: int = 0
    """Candidates that the judge did not confirm on the original file."""

    @property
    def ran(self) -> bool:
        """Whether it was tried on samples, and did not fail."""
        return self.status in ("done", "partial")


class PlugInRule(Section):
    """The rule of a check from another package."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2,8}[0-9]{1,6}$")]
    """Stable; one that begins with RA is robaudit's own."""
    name: str
    """In one word."""
    why: str
    """Why it matters."""
    action: str
    """What to do."""
    level: Literal["error", "warning", "note"]
    """How severe a finding is, where nothing says otherwise."""


class PlugInCheck(Section):
    """What a check from another package says of itself, so that the result is read without that package."""

    package: str | None
    """Name and version of the package; null where it is not known."""
    title: str
    """What a finding says."""
    next_step: str
    """What to do where it fails."""
    fatal: bool
    """Where it fails nothing that was measured counts."""
    doubts_evidence: bool
    """Where it fails a broken sample proves nothing."""
    rule: PlugInRule | None = None
    """Of its findings; null: the general one."""


class Fit(Section):
    """The fit of an attack that fits one artefact on many samples, such as a universal perturbation.

    The attack is then tried on every audited sample that is answered correctly, whatever fell before; its evaluations
    are counted apart from those of the fit.
    """

    attack: str
    """The attack."""
    family: Literal["universal", "patch", "spatial", "per sample"]
    """Perturbations that it tests."""
    samples: int
    """Samples that it was fitted on, of the same data and apart from the audited ones; their classes are the model's
    own answers."""
    rounds: int
    """Rounds carried out."""
    of: int
    """Rounds of the whole fit."""
    forwards: int = 0
    """Forward passes of the fit for single inputs."""
    backwards: int = 0
    """Backward passes for single inputs."""
    queries: int = 0
    """Score or label queries of the fit."""
    seconds: FiniteFloat = 0.0
    """Wall time of the rounds, which the attack's own includes."""
    fooled: tuple[int, ...] = ()
    """Positions of the audited samples that the judge confirmed fooled by it, those that fell before among them."""
    arrays: dict[str, tuple[int, ...]] = {}
    """The artefact: arrays in the archive of the evidence, by name, with their shapes; empty where none was kept."""


class Check(Section):
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
    forwards: Count = 0
    """Forward passes of the model for single inputs, for the attacks and gradients of the check."""
    backwards: Count = 0
    """Backward passes for single inputs."""
    queries: Count = 0
    """Single inputs that the file was asked for, those of its black-box attacks among them."""
    judge_queries: Count = 0
    """Inputs that the judge classified."""
    plug_in: PlugInCheck | None = None
    """Of a check from another package, what it says of itself; null for robaudit's own."""


class Evidence(Section):
    """The adversarial examples kept."""

    path: str | None = None
    """Path of the archive, relative to the run directory; null if there is none."""
    sha256: str | None = None
    """Digest of the archive."""
    count: int = 0
    """Number of adversarial examples."""
    nearest: int = 0
    """With a curve: the nearest adversarial examples in it besides, one a sample and norm, outside of the ball too."""


class AuditFailure(Section):
    """Something that went wrong."""

    where: str
    """Part of the audit."""
    message: str
    """One sentence."""
    sample: str | None = None
    """Sample it cost, or null."""
    attack: str | None = None
    """Attack it cost, or null."""
