"""Masked gradients, as a result records them."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Section

__all__ = ["HiddenAt", "Masking"]


class HiddenAt(Section):
    """A place in the file that the gradient does not get through."""

    operators: tuple[str, ...]
    """Operators there, named as in the file."""
    why: Literal["no derivative", "random", "saturated", "lost"]
    """no derivative: they have none; random: they draw anew each time; saturated: probabilities at their ends; lost:
    the slope before them does not foretell what a step does, and the one behind them does; or searches that take the
    gradient of smooth functions in their place find what those along the true gradient do not."""
    before: FiniteFloat | None = None
    """Median share of the change of the margin that the slope before them misses, 0 to 1; null where not measured."""
    after: FiniteFloat | None = None
    """The same behind them."""


class Masking(Section):
    """Signs that gradients are masked, where they are hidden, and what was done."""

    signs: tuple[str, ...]
    """Checks that told so, by id."""
    hidden: tuple[HiddenAt, ...] = ()
    """Where the gradient is hidden, as far as that was found; the file's operators alone can be looked at."""
    stood: int = Field(default=0, ge=0)
    """Samples that stood before the reaction."""
    left: int = Field(default=0, ge=0)
    """Samples that stand after it."""
    attacks: dict[str, int] = {}
    """Attacks of the reaction that ran, in order, and how many samples each broke."""
