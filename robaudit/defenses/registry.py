"""Defenses by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

import robaudit.defenses
from robaudit.defenses.base import Defense
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["defense_classes", "make_defense", "parameters_of", "parse_defense", "words_of"]

ENTRY_POINT = "robaudit.defenses"


@functools.cache
def defense_classes() -> dict[str, type[Defense]]:
    """Every defense by id, ours first.

    Raises:
        UsageError: an installed package's defense cannot be imported, is no defense, or takes a used id.
    """
    found: dict[str, type[Defense]] = {}
    for module in pkgutil.iter_modules(robaudit.defenses.__path__, robaudit.defenses.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Defense) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=ENTRY_POINT):
        try:
            cls = entry.load()
        except Exception as error:
            raise UsageError(f"the installed defense {entry.value!r} cannot be imported: {error}") from error
        if not (inspect.isclass(cls) and issubclass(cls, Defense)):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a Defense class")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer a defense called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def make_defense(id: str, parameters: Mapping[str, Any]) -> Defense:
    """A defense with its parameters checked.

    Raises:
        UsageError: unknown defense or parameter, or a value out of range, in one sentence.
    """
    classes = defense_classes()
    if id not in classes:
        raise UsageError(f"unknown defense {id!r}{did_you_mean(id, classes)}")
    names = list(inspect.signature(classes[id]).parameters)
    for name in parameters:
        if name not in names:
            raise UsageError(f"the defense {id!r} has no parameter {name!r}{did_you_mean(name, names)}")
    try:
        return classes[id](**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the defense {id!r}, parameter {where!r}: {first['msg']}") from error


def parse_defense(text: str) -> Defense:
    """A defense as settings name it: ``bits``, or with parameters ``bits:depth=4``, several apart by commas.

    Raises:
        UsageError: as :func:`make_defense`, or it is written otherwise.
    """
    id, _, rest = text.strip().partition(":")
    parameters: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name or name in parameters:
            raise UsageError(f"a defense is written as bits or bits:depth=4, not {text!r}")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return make_defense(id, parameters)


def parameters_of(defense: Defense) -> dict[str, Any]:
    """Its parameters, defaults among them, as JSON values."""
    assert dataclasses.is_dataclass(defense)
    return {field.name: getattr(defense, field.name) for field in dataclasses.fields(defense)}


def words_of(id: str, parameters: Mapping[str, Any]) -> str:
    """A defense as settings name it, with all its parameters."""
    said = ",".join(f"{name}={json.dumps(value)}" for name, value in parameters.items())
    return f"{id}:{said}" if said else id
