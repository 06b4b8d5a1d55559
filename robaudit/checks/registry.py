"""Checks by name, found by walking this package."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

import robaudit.checks
from robaudit.checks.base import Check

__all__ = ["check_classes"]


@functools.cache
def check_classes() -> dict[str, type[Check]]:
    """Every check by its id."""
    found: dict[str, type[Check]] = {}
    for module in pkgutil.iter_modules(robaudit.checks.__path__, robaudit.checks.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Check) and "id" in vars(cls):
                found[cls.id] = cls
    return found
