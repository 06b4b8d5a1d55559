"""Attacks and transforms by name: ours, found by walking their package, and others', through entry points."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import robaudit.attacks
import robaudit.attacks.transforms
from robaudit.attacks.base import SlotAttack
from robaudit.attacks.names import SHORT, SMOOTH, parts
from robaudit.attacks.requests import How
from robaudit.attacks.transforms.base import Transform
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError, classes_by_id, made
from robaudit.suggest import did_you_mean
from robaudit.target.running.smooth import POOL, WIDTH, Smooth
from robaudit.threat.model import Access

__all__ = ["attack_classes", "make_attack", "make_composed", "transform_classes"]

ENTRY_POINT = "robaudit.attacks"
TRANSFORMS = "robaudit.transforms"
RESERVED = frozenset({"id", "norms", "by_norm", "eot"})
"""Keys of an attack in a profile, which a transform's parameters cannot have for theirs."""


@functools.cache
def attack_classes() -> dict[str, type[SlotAttack[Any]]]:
    """Every attack class by id, ours first, in the order of their module names.

    Raises:
        UsageError: an installed package's attack cannot be imported, is no attack, or takes a used id.
    """
    found = _plain(classes_by_id(SlotAttack, "attack", robaudit.attacks, ENTRY_POINT), "attack")
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
    found = _plain(classes_by_id(Transform, "transform", robaudit.attacks.transforms, TRANSFORMS), "transform")
    for id in found:
        if id in RESERVED:
            raise UsageError(f"the transform {id!r} has the name of a key that every attack of a profile has")
        if id == SMOOTH:
            raise UsageError(f"the transform {id!r} has the name of the smooth backward")
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
    attack: SlotAttack[Any] = made(f"attack {id!r}", classes[id], parameters)
    return attack


def make_composed(name: str, parameters: dict[str, Any], copies: int = 1) -> tuple[SlotAttack[Any], How]:
    """An attack by its name, such as ``transfer-mi-fgsm+di`` or ``pgd+smooth``, and how its gradients are taken.

    Args:
        name: of the attack and its transforms.
        parameters: the attack's; those of a transform are a map under its id.
        copies: gradients averaged at each point.

    Raises:
        UsageError: unknown attack or transform, or one that cannot go through a transform, in one sentence.
        ParameterError: unknown parameter, or a value out of range.
    """
    id, *ids = parts(name)
    smooth = Smooth() if SMOOTH in ids else None
    ids = [one for one in ids if one != SMOOTH]
    classes, own = transform_classes(), dict(parameters)
    given = {one: own.pop(one) for one in ids if one in own}
    for one in parameters.keys() & classes.keys() - {*ids}:
        if id in attack_classes() and one not in inspect.signature(attack_classes()[id]).parameters:
            raise ParameterError(f"{name!r} does not go through the transform {one!r}; name it {name}+{one}", one)
    if smooth is not None and SMOOTH in own:
        smooth = _smooth(own.pop(SMOOTH))
    attack = make_attack(id, own)
    if smooth is not None and attack.access is not Access.WHITE_BOX:
        raise UsageError(f"the attack {id!r} takes no gradient of the model, so {name!r} is none")
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
            through.append(made(f"transform {one!r}", classes[one], values))
        except ParameterError as error:
            raise ParameterError(str(error), one, *error.keys) from error
    return attack, How(tuple(through), copies, smooth=smooth)


def _smooth(values: Any) -> Smooth:
    """A smooth backward, of its parameters.

    Raises:
        ParameterError: there is another parameter, or one out of range.
    """
    if not isinstance(values, dict) or not values or values.keys() - {"width", "pool"}:
        raise ParameterError("a smooth backward takes a width and a pool, as in {width: 0.05, pool: 0.3}", SMOOTH)
    width, pool = values.get("width", WIDTH), values.get("pool", POOL)
    if not _is_number(width) or not 0 < width <= 10:
        raise ParameterError("the width of a smooth backward is above 0 and at most 10, as in {width: 0.05}", SMOOTH)
    if not _is_number(pool) or not 0 <= pool <= 1:
        raise ParameterError("the pool of a smooth backward is a share between 0 and 1, as in {pool: 0.3}", SMOOTH)
    return Smooth(float(width), float(pool))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """The same, unless an id has the sign that joins transforms."""
    for id, cls in found.items():
        if "+" in id:
            where = f"{cls.__module__}:{cls.__qualname__}"
            raise UsageError(f"the {kind} {id!r} ({where}) has a plus sign in its id, which joins transforms")
    return found
