"""What the attacker may do, and what became of each of several such threats, as a result records it."""

from __future__ import annotations

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Access, Attacker, Free, Norm, Number, Section
from robaudit.audit.result.sections.queries import Served
from robaudit.stats.rates import Rate
from robaudit.threat.arrays import TOLERANCE

__all__ = ["PerturbationSet", "Radius", "Threat", "ThreatOutcome"]


class Radius(Section):
    """A ball of another norm that the attacker may choose instead."""

    norm: Norm
    """Norm of the perturbation."""
    eps: FiniteFloat
    """Radius as a fraction of the domain's width (L0: number of features)."""
    eps_text: str
    """The radius as it was written."""


class PerturbationSet(Section):
    """What may be changed, beside the ball and the box."""

    id: str
    """Name of the set, such as mask."""
    words: str
    """What it allows, as the end of a sentence."""
    free: int
    """How many features of a sample may change."""
    features: int
    """How many a sample has."""
    sha256: str
    """Digest of what it allows: of a mask the same, whatever its file is called."""
    content: Free
    """Its parameters; of a mask its file's name, the shape of a sample, and one bit a feature, set where it may change,
    row by row, compressed (zlib) and in base64. A replay needs no other file."""


class Threat(Section):
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
    sets: tuple[PerturbationSet, ...] = ()
    """What may be changed beside the ball, such as a mask; a perturbation lies in all of them. Left out where there is
    none."""
    goal: str = "untargeted"
    """What counts as a success, as it was written: untargeted (any wrong class), random, least-likely, second-likely,
    class:NAME, given, every or every:N."""
    goal_words: str = "any wrong class"
    """What an input is made to answer, in words."""
    attacker: Attacker = "white-box"
    """The most that the attacker was taken to have of the model, beside surrogates of their own."""
    access: tuple[Access, ...] = ()
    """Kinds of access that the attacks of this audit used."""
    queries: int | None = None
    """Most queries for each sample (of a goal ``every``: for each of its classes) that a black-box attack may spend;
    null leaves it to the attack."""
    served: Served | None = None
    """What an outsider gets of the model's answers; null: all of them, and identical queries are charged."""
    domain: str = "the box of valid inputs"
    """The set that adversarial inputs stay in, besides the ball."""
    tolerance: FiniteFloat = TOLERANCE
    """Slack with which the judge measures ball and box, in float64, as a fraction of the domain's width."""


class ThreatOutcome(Section):
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
