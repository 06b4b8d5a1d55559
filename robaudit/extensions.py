"""What can be added by one file: classes by id, ours found by walking a package, others' through an entry point."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from robaudit.errors import UsageError, on_one_line
from robaudit.suggest import did_you_mean

__all__ = [
    "LONE",
    "ParameterError",
    "classes_by_id",
    "made",
    "made_of",
    "named",
    "parameters_of",
    "told",
    "words_of",
    "written",
]

LONE = ""
"""Name of a parameter that was given as a value alone: the first that there is."""

T = TypeVar("T")


class ParameterError(UsageError):
    """A parameter that something does not have, or a value that it does not take.

    Args:
        message: one sentence.
        parameter: its key.
        inner: keys in it, of a parameter's own parameters.
    """

    def __init__(self, message: str, parameter: str, *inner: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.keys = (parameter, *inner)


def parameters_of(thing: Any) -> dict[str, Any]:
    """The parameters of what is a dataclass of them, defaults among them, as JSON values."""
    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}


def written(text: str, wanted: str, *, lone: bool = False) -> tuple[str, dict[str, Any]]:
    """The id and the parameters of ``bits``, or with parameters ``bits:depth=4``, several apart by commas.

    Args:
        text: as settings name it.
        wanted: how it is to be written, for the message: ``a defense is written as bits or bits:depth=4``.
        lone: the first may be a value alone, ``bits:4``, which comes as the parameter ``LONE``.

    Raises:
        UsageError: it is written otherwise.
    """
    id, _, rest = text.strip().partition(":")
    parameters: dict[str, Any] = {}
    for place, part in enumerate(filter(None, rest.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if lone and place == 0 and not equals:
            name, equals, value = LONE, "=", name
        elif not name:
            equals = ""
        if not equals or name in parameters or name == "id":
            raise UsageError(f"{wanted}, not {text!r}")
        try:
            parameters[name] = json.loads(value)
        except ValueError:
            parameters[name] = value
    return id, parameters


def told(value: Any) -> str:
    """A parameter's value as :func:`written` reads it; a text as it is, unless it would be read as something else."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def classes_by_id(base: Any, kind: str, package: ModuleType, group: str) -> dict[str, Any]:
    """Subclasses by id: those in a package's modules, in their order, then those of an entry point.

    Modules whose names begin with an underscore offer none, and may import what costs much.

    Args:
        base: the class that each is derived from.
        kind: what one is called, in words.
        package: that holds ours, one file each.
        group: of entry points, through which other packages offer theirs.

    Raises:
        UsageError: an installed package's cannot be imported, is not one, or takes a used id.
    """
    found: dict[str, Any] = {}
    cls: Any
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if _is_one(cls, base) and "id" in vars(cls) and cls.__module__ == module.name:
                found[cls.id] = cls
    for entry in entry_points(group=group):
        try:
            cls = entry.load()
        except Exception as error:
            why = on_one_line(error)
            raise UsageError(f"the installed {kind} {entry.value!r} cannot be imported: {why}") from error
        if not _is_one(cls, base):
            raise UsageError(f"the entry point {entry.name!r} ({entry.value}) is not a {base.__name__} class")
        if cls.id in found and found[cls.id] is not cls:
            one = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
            raise UsageError(f"two installed packages offer {one} called {cls.id!r}; uninstall one")
        found[cls.id] = cls
    return found


def _is_one(found: Any, base: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, base)


def named(id: str, classes: Mapping[str, T], kind: str) -> T:
    """The one of an id.

    Raises:
        UsageError: there is no such class, with what may have been meant.
    """
    if id not in classes:
        raise UsageError(f"unknown {kind} {id!r}{did_you_mean(id, classes)}")
    return classes[id]


def made(called: str, cls: type[Any], parameters: Mapping[str, Any], word: str = "parameter") -> Any:
    """One of a class whose fields are its parameters, each checked.

    Args:
        called: what it is, in words that begin a sentence.
        cls: a pydantic dataclass.
        parameters: of it, by name.
        word: what one of them is called.

    Raises:
        ParameterError: unknown parameter, or a value out of range, in one sentence.
    """
    names = list(inspect.signature(cls).parameters)
    for name in parameters:
        if name not in names:
            raise ParameterError(f"{called} has no {word} {name!r}{did_you_mean(name, names)}", name)
    try:
        one = cls(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        parameter = str(next(iter(first["loc"]), ""))
        raise ParameterError(f"{called}, {word} {where!r}: {first['msg']}", parameter) from error
    for name, value in parameters.items():
        if isinstance(value, bool) and not isinstance(getattr(one, name), bool):  # pydantic takes true as 1
            raise ParameterError(f"{called}, {word} {name!r}: {str(value).lower()} is no number", name)
    return one


def made_of(kind: str, classes: Mapping[str, type[Any]], id: str, parameters: Mapping[str, Any]) -> Any:
    """One of the classes of a kind, of which a parameter may come as ``LONE``: its first.

    Args:
        kind: what one is called, in words.
        classes: by id; fields of each are its parameters.
        id: which one.
        parameters: of it, by name.

    Raises:
        UsageError: unknown id or parameter, one that is missing or given twice, or a value out of range, in one
            sentence.
    """
    cls = named(id, classes, kind)
    if LONE in parameters:
        names = list(inspect.signature(cls).parameters)
        if not names:
            raise UsageError(f"the {kind} {id!r} has no parameters")
        if names[0] in parameters:
            raise UsageError(f"the {kind} {id!r} is given its {names[0]} twice")
        parameters = {names[0] if name == LONE else name: value for name, value in parameters.items()}
    missing = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    if missing and missing[0] not in parameters:
        raise UsageError(f"the {kind} {id!r} needs its {missing[0]}: {id}:{missing[0].upper()}")
    return made(f"the {kind} {id!r}", cls, parameters)


def words_of(id: str, parameters: Mapping[str, Any]) -> str:
    """One with its parameters, as :func:`written` reads it."""
    said = ",".join(f"{name}={told(value)}" for name, value in parameters.items())
    return f"{id}:{said}" if said else id
