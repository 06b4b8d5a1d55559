"""Perturbation sets by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

import robaudit.threat.sets
from robaudit.errors import UsageError, on_one_line
from robaudit.suggest import did_you_mean
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["ENTRY_POINT", "chosen_classes", "make_set", "set_classes"]

ENTRY_POINT = "robaudit.sets"


@functools.cache
def set_classes() -> dict[str, type[PerturbationSet]]:
    """Every perturbation set's class by id, ours first.

    Raises:
        UsageError: an installed package's set cannot be imported, is not one, or takes a used id.
    """
    found: dict[str, type[PerturbationSet]] = {}
    for module in pkgutil.iter_modules(robaudit.threat.sets.__path__, robaudit.threat.sets.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, PerturbationSet) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=ENTRY_POINT):
        try:
            cls = entry.load()
        except Exception as error:
            why = on_one_line(error)
            raise UsageError(f"the installed perturbation set {entry.value!r} cannot be imported: {why}") from error
        if not (inspect.isclass(cls) and issubclass(cls, PerturbationSet)):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a PerturbationSet class")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer a perturbation set called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def chosen_classes() -> dict[str, type[PerturbationSet]]:
    """Those that a profile may name."""
    return {id: cls for id, cls in set_classes().items() if not cls.inherent}


def make_set(id: str, parameters: Mapping[str, Any]) -> PerturbationSet:
    """A perturbation set with its parameters checked, such as a profile or a result names it.

    Raises:
        UsageError: an unknown set or parameter, or a value out of range, in one sentence.
    """
    classes = chosen_classes()
    if id not in classes:
        raise UsageError(f"unknown perturbation set {id!r}{did_you_mean(id, classes)}")
    names = list(inspect.signature(classes[id]).parameters)
    for name in parameters:
        if name not in names:
            raise UsageError(f"the perturbation set {id!r} has no parameter {name!r}{did_you_mean(name, names)}")
    try:
        return classes[id](**parameters)
    except (ValidationError, TypeError) as error:
        if not isinstance(error, ValidationError):
            raise UsageError(f"the perturbation set {id!r} cannot be made: {error}") from error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the perturbation set {id!r}, parameter {where!r}: {first['msg']}") from error
