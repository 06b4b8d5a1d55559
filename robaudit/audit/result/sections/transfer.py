"""Transfer attacks, as a result records them: the surrogates, and what fell to attacks made on each."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Free, Norm, Section
from robaudit.stats.rates import Rate

__all__ = ["Gain", "Matrix", "MatrixCell", "Surrogate", "Transfer"]

Count = Annotated[int, Field(ge=0)]


class Surrogate(Section):
    """A model that attacks were made on in place of the target."""

    name: str
    """How attacks name it: a file's name or a recipe's, with a number where there are several."""
    origin: Literal["file", "made"]
    """A file that was given, or made by the audit from the target's answers."""
    status: Literal["used", "not needed", "failed"]
    """Whether attacks were made on it; none is made that nothing needs."""
    reason: str | None = None
    """Why not."""
    file: str | None = None
    """Path of a file."""
    recipe: str | None = None
    """How it was made."""
    parameters: Free = {}
    """Of the recipe, resolved."""
    sha256: str | None = None
    """Of the file, or of the weights that were made; null where there are none."""
    agreement: Rate | None = None
    """Share of samples that it gives the target's class; null where nothing was compared."""
    agreement_on: Literal["held-out", "audited"] | None = None
    """What was compared: samples that it was not trained on, apart from the audited ones, or the audited ones, which a
    file may have been trained on."""
    trained_on: Count = 0
    """Samples of the data that it was made from; none of them is audited."""
    queries: Count = 0
    """Asked of the target to make it, in all; no sample is billed for them."""
    forwards: Count = 0
    """Forwards of surrogates and target's twin on the way, as far as they were requests."""
    backwards: Count = 0
    """Backwards, likewise."""
    seconds: FiniteFloat = 0.0
    """That it took to make it."""


class MatrixCell(Section):
    """An attack made on one surrogate, or on all together, and shown to the target on every sample."""

    attack: str
    """Id of the attack in ``attacks``."""
    method: str
    """The attack, whatever it is made on."""
    surrogate: str
    """Name of the surrogate; ``all``: the ensemble."""
    fooled: tuple[int, ...] = ()
    """Positions in the data of the audited samples that it fooled, those that had fallen before among them."""
    success: Rate | None = None
    """Share of the samples answered correctly that it fooled; null unless it saw them all."""


class Gain(Section):
    """What a transfer attacker has of one surrogate more."""

    surrogate: str
    """The one that is added."""
    success: Rate
    """Share of the samples answered correctly that some attack made on it, or on one before it, fooled."""
    newly: int
    """Of those, samples that fell to none made on those before it."""


class Matrix(Section):
    """Surrogates and attacks in one norm."""

    norm: Norm
    """Norm of the threat model."""
    cells: tuple[MatrixCell, ...]
    """One for each attack and surrogate, attack by attack."""
    gains: tuple[Gain, ...] = ()
    """The surrogates in the order in which they were named, each with what it adds."""


class Transfer(Section):
    """What an attacker can do who makes attacks on other models."""

    surrogates: tuple[Surrogate, ...]
    """All that were given or named."""
    matrices: tuple[Matrix, ...] = ()
    """For each norm, where it was asked for."""
