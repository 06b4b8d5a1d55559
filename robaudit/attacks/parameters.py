"""Shared by attack files: the decorator that makes a class's fields its checked parameters."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

__all__ = ["Count", "Fraction", "Natural", "Percentage", "Positive", "attack_parameters"]

attack_parameters = dataclass(frozen=True, config=ConfigDict(extra="forbid"))
"""Class decorator: a frozen dataclass whose values are checked by pydantic."""

Count = Annotated[int, Field(ge=1)]
"""A whole number, at least 1."""
Natural = Annotated[int, Field(ge=0)]
"""A whole number, at least 0."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Percentage = Annotated[float, Field(ge=0, le=100)]
"""A number from 0 to 100."""
