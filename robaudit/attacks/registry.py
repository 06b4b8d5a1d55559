"""Attacks by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

import robaudit.attacks
from robaudit.attacks.base import SlotAttack
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["ParameterError", "attack_classes", "make_attack"]

ENTRY_POINT = "robaudit.attacks"


class ParameterError(UsageError):
    """A parameter that an attack does not have, or a value that it does not take.

    Args:
        message: one sentence.
        parameter: its name.
    """

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


@functools.cache
def attack_classes() -> dict[str, type[SlotAttack[Any]]]:
    """Every attack class by id, ours first, in the order of their module names.

    Raises:
        UsageError: an installed package's attack cannot be imported, is no attack, or takes a used id.
    """
    found: dict[str, type[SlotAttack[Any]]] = {}
    for module in pkgutil.walk_packages(robaudit.attacks.__path__, robaudit.attacks.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, SlotAttack) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=ENTRY_POINT):
        try:
            cls = entry.load()
        except Exception as error:
            raise UsageError(f"the installed attack {entry.value!r} cannot be imported: {error}") from error
        if not (inspect.isclass(cls) and issubclass(cls, SlotAttack)):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a SlotAttack class")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer an attack called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def make_attack(id: str, parameters: dict[str, Any]) -> SlotAttack[Any]:
    """An attack with its parameters checked.

    Raises:
        UsageError: unknown attack, in one sentence.
        ParameterError: unknown parameter, or a value out of range.
    """
    classes = attack_classes()
    if id not in classes:
        raise UsageError(f"unknown attack {id!r}{did_you_mean(id, classes)}")
    cls = classes[id]
    names = list(inspect.signature(cls).parameters)
    for name in parameters:
        if name not in names:
            raise ParameterError(f"attack {id!r} has no parameter {name!r}{did_you_mean(name, names)}", name)
    try:
        attack = cls(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        parameter = str(next(iter(first["loc"]), ""))
        raise ParameterError(f"attack {id!r}, parameter {where!r}: {first['msg']}", parameter) from error
    for name, value in parameters.items():
        if isinstance(value, bool) and not isinstance(getattr(attack, name), bool):  # pydantic takes true as 1
            raise ParameterError(f"attack {id!r}, parameter {name!r}: {str(value).lower()} is no number", name)
    return attack
