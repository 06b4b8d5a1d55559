"""What attacks by queries asked and what a monitor of the service saw of it, as a result records it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from robaudit.audit.result.sections.base import Number, Section

__all__ = ["Queried", "Served", "Spent"]

Count = Annotated[int, Field(ge=0)]


class Served(Section):
    """What an outsider gets of the model's answers, where it is not all of them."""

    numbers: Literal["probabilities", "log-probabilities", "scores"] = "scores"
    """What the noise, the rounding and the choice of the highest are of: the numbers that the file gives."""
    top: Annotated[int, Field(ge=1)] | None = None
    """Classes whose scores are told, the likeliest; null: all."""
    decimals: Count | None = None
    """Decimals that scores are rounded to; null: they are told as they are."""
    noise: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Standard deviation of the normal noise on each score."""
    reject_below: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """Top probability below which an input is rejected, whoever asks; null: none is."""
    duplicates: Literal["charged", "free"] = "charged"
    """Whether a query identical to an earlier one of its search counted against the budget."""
    rate: str | None = None
    """How fast the service answers, as it was written; null: not said."""
    per_second: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """The same in queries a second."""


class Spent(Section):
    """The queries of one attack on one sample."""

    attack: str
    """The attack."""
    queries: Count
    """Score and label queries that were charged, whether it fell or not."""
    repeated: Count = 0
    """Queries identical to an earlier one of their search, which were answered from memory."""
    bad: Count = 0
    """Queries whose answer was no success: what a monitor of the service may take for an attack."""
    watched: Count = 0
    """Queries that the stateful detector looked at, the first ones of each search; 0 where inputs are no images."""
    flagged: Count = 0
    """Of those, queries that it flagged, as they are nearly the same as an earlier one."""
    first_flagged: Annotated[int, Field(ge=1)] | None = None
    """Number of the first of them in its search, from 1; null: none was flagged."""
    burst: Count = 0
    """The longest run of flagged queries that followed each other."""


class Queried(Section):
    """The queries of one attack, over all samples that it was tried on: one that stood counts with what it spent."""

    median: FiniteFloat
    """Median of the queries charged for a sample."""
    mean: FiniteFloat
    """Their mean."""
    median_to_success: Number = None
    """Median over the samples that it broke alone; null where there is none."""
    most_to_success: Count | None = None
    """Queries of the slowest success; null where there is none."""
    repeated: Count = 0
    """Queries identical to an earlier one of their search."""
    bad: Count = 0
    """Queries whose answer was no success."""
    watched: Count = 0
    """Queries that the stateful detector looked at."""
    flagged: Count = 0
    """Of those, queries that it flagged."""
    flagged_samples: Count = 0
    """Samples of which it flagged a query."""
    median_first_flagged: Number = None
    """Median over these of the number of the first; null where there is none."""
    burst: Count = 0
    """The longest run of flagged queries of any sample."""
