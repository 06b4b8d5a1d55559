"""Recipes by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import robaudit.surrogates
from robaudit.extensions import classes_by_id, made, named
from robaudit.surrogates.base import SurrogateRecipe

__all__ = ["make_recipe", "surrogate_classes"]

ENTRY_POINT = "robaudit.surrogates"


@functools.cache
def surrogate_classes() -> dict[str, type[SurrogateRecipe]]:
    """Every recipe by id, ours first.

    Raises:
        UsageError: an installed package's recipe cannot be imported, is no recipe, or takes a used id.
    """
    return classes_by_id(SurrogateRecipe, "surrogate", robaudit.surrogates, ENTRY_POINT)


def make_recipe(id: str, parameters: Mapping[str, Any]) -> SurrogateRecipe:
    """A recipe with its parameters checked.

    Raises:
        UsageError: unknown recipe, in one sentence.
        ParameterError: unknown parameter, or a value out of range.
    """
    recipe: SurrogateRecipe = made(f"the surrogate {id!r}", named(id, surrogate_classes(), "surrogate"), parameters)
    return recipe
