"""Certifiers by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

import robaudit.certificates
from robaudit.certificates.base import Certifier
from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean

__all__ = ["ENTRY_POINT", "certifier_classes", "make_certifier"]

ENTRY_POINT = "robaudit.certificates"


@functools.cache
def certifier_classes() -> dict[str, type[Certifier]]:
    """Every certifier class by id, ours first.

    Raises:
        UsageError: an installed package's certifier cannot be imported, is not one, or takes a used id.
    """
    found: dict[str, type[Certifier]] = {}
    for module in pkgutil.iter_modules(robaudit.certificates.__path__, robaudit.certificates.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Certifier) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=ENTRY_POINT):
        try:
            cls = entry.load()
        except Exception as error:
            raise UsageError(f"the installed certifier {entry.value!r} cannot be imported: {error}") from error
        if not (inspect.isclass(cls) and issubclass(cls, Certifier)):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a Certifier class")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer a certifier called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def make_certifier(id: str, parameters: dict[str, Any]) -> Certifier:
    """A certifier with its parameters checked.

    Raises:
        UsageError: unknown certifier or parameter, or a value out of range.
    """
    classes = certifier_classes()
    if id not in classes:
        raise UsageError(f"unknown certificate {id!r}{did_you_mean(id, classes)}")
    names = list(inspect.signature(classes[id]).parameters)
    for name in parameters:
        if name not in names:
            hint = did_you_mean(name, names) if names else ", which has none"
            raise UsageError(f"the certificate {id!r} has no parameter {name!r}{hint}")
    try:
        return classes[id](**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the certificate {id!r}, parameter {where!r}: {first['msg']}") from error
