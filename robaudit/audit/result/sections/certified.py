"""What was proved, as a result records it."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.result.sections.base import Free, Norm, Number, Section
from robaudit.stats.rates import Rate

__all__ = ["Certificate", "Certified", "Proved"]


class Proved(Section):
    """What a certifier found of a sample."""

    by: str
    """The certifier, by id."""
    proved: bool
    """Whether no input in its ball is answered wrongly; false says nothing."""
    margin: Number = None
    """How far the right class stays ahead of the best other at least, less what rounding can take, in logits; null
    where nothing bounds it."""


class Certificate(Section):
    """A certifier, for one ball."""

    id: str
    """Name; with several threat models the norm stands before it."""
    name: str
    """Name for people."""
    status: Literal["done", "partial", "skipped", "failed", "not run"]
    """done; partial; skipped (it can prove nothing of this file); failed; not run."""
    reason: str | None = None
    """Why the status is not done."""
    parameters: Free = {}
    """Resolved parameters."""
    norm: Norm
    """Norm of the ball."""
    eps: FiniteFloat
    """Radius of the ball."""
    tried: int = 0
    """Samples it was tried on, all of them answered correctly."""
    proved: int = 0
    """Of those, samples that it proved."""
    seconds: FiniteFloat = 0.0
    """Time it took."""


class Certified(Section):
    """The lower bound: certified <= true <= attacked."""

    statement: str
    """What is proved, in one sentence."""
    certificates: tuple[Certificate, ...]
    """All certifiers, in order."""
    lower_bound: Rate
    """Share of drawn samples that are classified correctly and proved in every ball of the threat model: a lower bound
    on their robust accuracy."""
    contradicted: tuple[int, ...] = ()
    """Samples, by index, that were proved in a ball and broken in it: an error of robaudit."""
