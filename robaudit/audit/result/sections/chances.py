"""What a random model's answers come to, as a result records it."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Section

__all__ = ["Chances", "Survival"]


class Survival(Section):
    """Attackers who show each sample's point so often, each time to other draws."""

    tries: int = Field(ge=1)
    """How often."""
    clean: FiniteFloat
    """Mean chance that all answers to the samples themselves are right."""
    attacked: FiniteFloat
    """Mean chance that no answer to the points that attacks found is fooled."""


class Chances(Section):
    """Of a random model, the mean over its samples of the chance to survive.

    Up to as many tries as there were draws they are unbiased; beyond, too high on average.
    """

    draws: int = Field(ge=1)
    """Answers to each point."""
    samples: int = Field(ge=1)
    """Samples that were asked so."""
    survival: tuple[Survival, ...]
    """By rising tries."""
