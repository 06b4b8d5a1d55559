"""Recipes by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools

import robaudit.purifiers
from robaudit.extensions import classes_by_id, made, named, written
from robaudit.purifiers.base import PurifierRecipe

__all__ = ["parse_recipe", "purifier_classes"]

ENTRY_POINT = "robaudit.purifiers"


@functools.cache
def purifier_classes() -> dict[str, type[PurifierRecipe]]:
    """Every recipe by id, ours first.

    Raises:
        UsageError: an installed package's recipe cannot be imported, is no recipe, or takes a used id.
    """
    return classes_by_id(PurifierRecipe, "purifier", robaudit.purifiers, ENTRY_POINT)


def parse_recipe(text: str) -> PurifierRecipe:
    """A recipe as it is named: ``magnet``, or with parameters ``magnet:epochs=20,width=16``.

    Raises:
        UsageError: unknown recipe or parameter, or a value out of range, in one sentence.
    """
    id, parameters = written(text, "a purifier is named as magnet or magnet:epochs=20")
    recipe: PurifierRecipe = made(f"the purifier {id!r}", named(id, purifier_classes(), "purifier"), parameters)
    return recipe
