"""Attacks and transforms by name: ours, found by walking their package, and others', through entry points."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from pydantic import ValidationError

import robaudit.attacks
import robaudit.attacks.transforms
from robaudit.attacks.base import SlotAttack
from robaudit.attacks.names import SHORT, parts
from robaudit.attacks.requests import How
from robaudit.attacks.transforms.base import Transform
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean
from robaudit.threat.model import Access

__all__ = ["ParameterError", "attack_classes", "make_attack", "make_composed", "transform_classes"]

ENTRY_POINT = "robaudit.attacks"
TRANSFORMS = "robaudit.transforms"
RESERVED = frozenset({"id", "norms", "by_norm", "eot"})
"""Keys of an attack in a profile, which a transform's parameters cannot have for theirs."""


class ParameterError(UsageError):
    """A parameter that an attack or its transform does not have, or a value that it does not take.

    Args:
        message: one sentence.
        parameter: the key of the attack.
        inner: the key in it, of a transform's parameter.
    """

    def __init__(self, message: str, parameter: str, *inner: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.keys = (parameter, *inner)


def _found(base: Any, kind: str, package: ModuleType, group: str) -> dict[str, Any]:
    """Subclasses by id: those in a package's modules, in their order, then those of an entry point."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        cls: Any
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if _is_one(cls, base) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=group):
        try:
            cls = entry.load()
        except Exception as error:
            raise UsageError(f"the installed {kind} {entry.value!r} cannot be imported: {error}") from error
        if not _is_one(cls, base):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a {base.__name__} class")
        if "+" in cls.id:
            raise UsageError(f"the {kind} {cls.id!r} ({entry.value}) has a plus sign in its id, which joins transforms")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer {_one(kind)} called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def _is_one(found: Any, base: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, base)


def _one(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


@functools.cache
def attack_classes() -> dict[str, type[SlotAttack[Any]]]:
    """Every attack class by id, ours first, in the order of their module names.

    Raises:
        UsageError: an installed package's attack cannot be imported, is no attack, or takes a used id.
    """
    found = _found(SlotAttack, "attack", robaudit.attacks, ENTRY_POINT)
    for short, id in SHORT.items():
        if short in found:
            raise UsageError(f"an installed package offers an attack called {short!r}, which is short for {id}")
    return found


@functools.cache
def transform_classes() -> dict[str, type[Transform]]:
    """Every transform class by id, ours first.

    Raises:
        UsageError: an installed package's transform cannot be imported, is no transform, or takes a used id.
    """
    found = _found(Transform, "transform", robaudit.attacks.transforms, TRANSFORMS)
    for id in found:
        if id in RESERVED:
            raise UsageError(f"the transform {id!r} has the name of a key that every attack of a profile has")
    return found


def make_attack(id: str, parameters: dict[str, Any]) -> SlotAttack[Any]:
    """An attack with its parameters checked, without transforms.

    Raises:
        UsageError: unknown attack, in one sentence.
        ParameterError: unknown parameter, or a value out of range.
    """
    id, classes = SHORT.get(id, id), attack_classes()
    if id not in classes:
        raise UsageError(f"unknown attack {id!r}{did_you_mean(id, [*classes, *SHORT])}")
    attack: SlotAttack[Any] = _made(f"attack {id!r}", classes[id], parameters)
    return attack


def make_composed(name: str, parameters: dict[str, Any], copies: int = 1) -> tuple[SlotAttack[Any], How]:
    """An attack by its name, such as ``transfer-mi-fgsm+di``, and how its gradients are taken.

    Args:
        name: of the attack and its transforms.
        parameters: the attack's; those of a transform are a map under its id.
        copies: gradients averaged at each point.

    Raises:
        UsageError: unknown attack or transform, or one that cannot go through a transform, in one sentence.
        ParameterError: unknown parameter, or a value out of range.
    """
    id, *ids = parts(name)
    classes, own = transform_classes(), dict(parameters)
    given = {one: own.pop(one) for one in ids if one in own}
    for one in parameters.keys() & classes.keys() - {*ids}:
        if id in attack_classes() and one not in inspect.signature(attack_classes()[id]).parameters:
            raise ParameterError(f"{name!r} does not go through the transform {one!r}; name it {name}+{one}", one)
    attack = make_attack(id, own)
    through = []
    for place, one in enumerate(ids):
        if one not in classes:
            raise UsageError(f"unknown transform {one!r} in {name!r}{did_you_mean(one, classes)}")
        if one in ids[:place]:
            raise UsageError(f"{name!r} goes through the transform {one!r} twice")
        if attack.access not in (Access.WHITE_BOX, Access.TRANSFER):
            raise UsageError(f"the attack {id!r} takes no gradient, so {name!r} is none: {one!r} changes gradients")
        values = given.get(one, {})
        if not isinstance(values, dict):
            names = ", ".join(inspect.signature(classes[one]).parameters)
            raise ParameterError(f"transform {one!r} takes a map of parameters ({names or 'it has none'})", one)
        try:
            through.append(_made(f"transform {one!r}", classes[one], values))
        except ParameterError as error:
            raise ParameterError(str(error), one, *error.keys) from error
    return attack, How(tuple(through), copies)


def _made(called: str, cls: type[Any], parameters: dict[str, Any]) -> Any:
    names = list(inspect.signature(cls).parameters)
    for name in parameters:
        if name not in names:
            raise ParameterError(f"{called} has no parameter {name!r}{did_you_mean(name, names)}", name)
    try:
        made = cls(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        parameter = str(next(iter(first["loc"]), ""))
        raise ParameterError(f"{called}, parameter {where!r}: {first['msg']}", parameter) from error
    for name, value in parameters.items():
        if isinstance(value, bool) and not isinstance(getattr(made, name), bool):  # pydantic takes true as 1
            raise ParameterError(f"{called}, parameter {name!r}: {str(value).lower()} is no number", name)
    return made
