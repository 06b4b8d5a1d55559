"""Perturbation sets by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import robaudit.threat.sets
from robaudit.errors import UsageError
from robaudit.extensions import classes_by_id, made, named
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["ENTRY_POINT", "chosen_classes", "make_set", "set_classes"]

ENTRY_POINT = "robaudit.sets"


@functools.cache
def set_classes() -> dict[str, type[PerturbationSet]]:
    """Every perturbation set's class by id, ours first.

    Raises:
        UsageError: an installed package's set cannot be imported, is not one, or takes a used id.
    """
    return classes_by_id(PerturbationSet, "perturbation set", robaudit.threat.sets, ENTRY_POINT)


def chosen_classes() -> dict[str, type[PerturbationSet]]:
    """Those that a profile may name."""
    return {id: cls for id, cls in set_classes().items() if not cls.inherent}


def make_set(id: str, parameters: Mapping[str, Any]) -> PerturbationSet:
    """A perturbation set with its parameters checked, such as a profile or a result names it.

    Raises:
        UsageError: an unknown set or parameter, or a value out of range, in one sentence.
    """
    cls = named(id, chosen_classes(), "perturbation set")
    try:
        found: PerturbationSet = made(f"the perturbation set {id!r}", cls, parameters)
    except TypeError as error:
        raise UsageError(f"the perturbation set {id!r} cannot be made: {error}") from error
    return found
