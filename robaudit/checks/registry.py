"""Checks by name: ours, found by walking this package, and others', through entry points. Needs no torch."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import robaudit.checks
from robaudit.checks.base import Check
from robaudit.errors import UsageError
from robaudit.extensions import made
from robaudit.suggest import did_you_mean

__all__ = [
    "all_checks",
    "check_class",
    "check_classes",
    "make_check",
    "own_checks",
    "package_of",
    "usual_checks",
]

ENTRY_POINT = "robaudit.checks"
ID = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
RULE = re.compile(r"[A-Z]{2,8}[0-9]{1,6}")
OURS = re.compile(r"RA[0-9]+")


@functools.cache
def own_checks() -> dict[str, type[Check]]:
    """Robaudit's own checks by id, in the order of their rules."""
    found: list[type[Check]] = []
    for module in pkgutil.iter_modules(robaudit.checks.__path__, robaudit.checks.__name__ + "."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Check) and "facts" in vars(cls) and cls.__module__ == module.name:
                found.append(cls)
    return {cls.id: cls for cls in sorted(found, key=_place)}


def _place(cls: type[Check]) -> str:
    rule = cls.facts.rule
    return "RB" if rule is None else rule.id  # those without come last


@functools.cache
def check_classes() -> dict[str, type[Check]]:
    """Every check by id: ours, then those of other packages by the name of their entry point.

    Raises:
        UsageError: an installed package's check cannot be imported, is no check, or takes a used id or rule.
    """
    found = dict(own_checks())
    for entry in sorted(entry_points(group=ENTRY_POINT), key=lambda entry: (entry.name, entry.value)):
        try:
            cls = entry.load()
        except Exception as error:
            raise UsageError(f"the installed check {entry.value!r} cannot be imported: {error}") from error
        if not (inspect.isclass(cls) and issubclass(cls, Check) and hasattr(cls, "facts")):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a Check class with facts")
        if cls.id in found and found[cls.id] is not cls:
            raise UsageError(f"two installed packages offer a check called {cls.id!r}; uninstall one")
        if (fault := _fault(cls, found)) is not None:
            raise UsageError(f"the installed check {entry.value!r} {fault}")
        found[cls.id] = cls
    return found


def check_class(id: str) -> type[Check]:
    """The check of an id. Ours are found without those of other packages, so that a broken one costs no other.

    Raises:
        UsageError: there is no such check; as :func:`check_classes`.
    """
    if id in own_checks():
        return own_checks()[id]
    if id not in (known := check_classes()):
        raise UsageError(f"no check is called {id!r}{did_you_mean(id, known)}")
    return known[id]


def _fault(cls: type[Check], known: Mapping[str, type[Check]]) -> str | None:
    """What is wrong with the names that another package's check gives itself."""
    if not ID.fullmatch(cls.id):
        return f"is called {cls.id!r}, which is not lower-case words joined by hyphens"
    rule = cls.facts.rule
    if rule is None:
        return None
    if not RULE.fullmatch(rule.id):
        return f"has the rule {rule.id!r}, which is not capitals and digits, such as AB1"
    if OURS.fullmatch(rule.id):
        return f"has the rule {rule.id!r}: rules that begin with RA are robaudit's own"
    other = next(
        (id for id, at in known.items() if id != cls.id and at.facts.rule and at.facts.rule.id == rule.id), None
    )
    return None if other is None else f"has the rule {rule.id!r}, as the check {other!r} has"


def package_of(cls: type[Check]) -> str | None:
    """Name and version of the package that brings a check through an entry point, or None."""
    for entry in entry_points(group=ENTRY_POINT):
        if entry.value.replace(" ", "") == f"{cls.__module__}:{cls.__qualname__}" and entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}"
    return None


def usual_checks() -> list[str]:
    """What ``checks: usual`` of a profile names."""
    return [id for id in all_checks() if own_checks()[id].facts.usual]


def all_checks() -> list[str]:
    """What ``checks: all`` of a profile names."""
    return [id for id, cls in own_checks().items() if not cls.facts.on_request]


def make_check(id: str, settings: Mapping[str, Any] | None = None) -> Check:
    """A check with its settings checked.

    Raises:
        UsageError: unknown check, in one sentence.
        ParameterError: unknown setting, or a value out of range.
    """
    check: Check = made(f"check {id!r}", check_class(id), settings or {}, "setting")
    return check
