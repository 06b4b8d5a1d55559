"""Defenses by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import robaudit.defenses
from robaudit.defenses.base import Defense
from robaudit.extensions import classes_by_id, made, named, written

__all__ = ["defense_classes", "make_defense", "parameters_of", "parse_defense", "words_of"]

ENTRY_POINT = "robaudit.defenses"


@functools.cache
def defense_classes() -> dict[str, type[Defense]]:
    """Every defense by id, ours first.

    Raises:
        UsageError: an installed package's defense cannot be imported, is no defense, or takes a used id.
    """
    return classes_by_id(Defense, "defense", robaudit.defenses, ENTRY_POINT)


def make_defense(id: str, parameters: Mapping[str, Any]) -> Defense:
    """A defense with its parameters checked.

    Raises:
        UsageError: unknown defense or parameter, or a value out of range, in one sentence.
    """
    cls = named(id, defense_classes(), "defense")
    defense: Defense = made(f"the defense {id!r}", cls, parameters)
    return defense


def parse_defense(text: str) -> Defense:
    """A defense as settings name it: ``bits``, or with parameters ``bits:depth=4``, several apart by commas.

    Raises:
        UsageError: as :func:`make_defense`, or it is written otherwise.
    """
    return make_defense(*written(text, "a defense is written as bits or bits:depth=4"))


def parameters_of(defense: Defense) -> dict[str, Any]:
    """Its parameters, defaults among them, as JSON values."""
    assert dataclasses.is_dataclass(defense)
    return {field.name: getattr(defense, field.name) for field in dataclasses.fields(defense)}


def words_of(id: str, parameters: Mapping[str, Any]) -> str:
    """A defense as settings name it, with all its parameters."""
    said = ",".join(f"{name}={json.dumps(value)}" for name, value in parameters.items())
    return f"{id}:{said}" if said else id
