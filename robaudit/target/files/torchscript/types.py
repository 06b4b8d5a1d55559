"""Whether the values of a TorchScript archive are of the types that its code gives them.

PyTorch does not look when it loads: code compiled for an object of one class would then read and write an object of
another one, which may be smaller.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from robaudit.target.files.torchscript.code import CodeError

__all__ = ["Enumerated", "Made", "Tensor", "Types", "check_objects"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the archive: the type of its storage, its sizes."""

    kind: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Enumerated:
    """A member of an enumeration that the archive defines."""

    path: str
    value: Any


@dataclass(eq=False)
class Made:
    """An object of a class of the archive, and the state that it is given, once it is."""

    path: str
    state: Any = None
    built: bool = False


PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float,),
    "bool": (bool,),
    "str": (str,),
    "complex": (complex,),
    "number": (int, float, complex),
    "NoneType": (type(None),),
    "Tensor": (Tensor,),
    "Device": (torch.device,),
}


class Types:
    """The classes of an archive.

    Args:
        trees: its code, parsed, by the module that each text defines.
    """

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self.classes = {
            f"{module}.{part.name}": part
            for module, tree in trees.items()
            for part in tree.body
            if isinstance(part, ast.ClassDef)
        }
        self._found: set[tuple[int, str]] = set()
        self._settled: dict[int, Any] = {}

    def is_settled(self, value: Any) -> bool:
        """Whether the type of a list, dictionary or tuple was looked at, after which it may not change."""
        return id(value) in self._settled

    def fits(self, value: Any, words: str) -> bool:
        """Whether a value is of a type, as PyTorch writes it; what is not understood does not fit."""
        key = (id(value), words)
        if key in self._found:
            return True
        if type(value) in (list, dict, tuple):
            self._settled[id(value)] = value
        found = self._fits(value, words.strip())
        if found and self.is_settled(value):  # what is held in many places is looked at once
            self._found.add(key)
        return found

    def _fits(self, value: Any, words: str) -> bool:
        outer, bracket, rest = words.partition("[")
        if not bracket:
            return self._fits_plain(value, words)
        if not rest.endswith("]"):
            return False
        inner = [] if rest == "()]" else list(_split(rest[:-1]))
        if outer in ("Optional", "Union"):
            return (outer == "Optional" and value is None) or any(self.fits(value, one) for one in inner)
        if outer in ("List", "Final") and len(inner) == 1:
            if outer == "Final":
                return self.fits(value, inner[0])
            return type(value) is list and all(self.fits(one, inner[0]) for one in value)
        if outer == "Dict" and len(inner) == 2:
            return type(value) is dict and all(
                self.fits(key, inner[0]) and self.fits(one, inner[1]) for key, one in value.items()
            )
        return (
            outer == "Tuple" and type(value) is tuple and len(value) == len(inner) and all(map(self.fits, value, inner))
        )

    def _fits_plain(self, value: Any, words: str) -> bool:
        if words in PLAIN:
            return type(value) in PLAIN[words]
        if words == "Any":
            return True
        if isinstance(value, Enumerated):
            return value.path == words
        if isinstance(value, tuple):
            return self._fits_named(value, words)
        if not isinstance(value, Made) or not value.built:
            return False
        return value.path == words or self._stands_for(value.path, words)

    def _fits_named(self, value: tuple[Any, ...], words: str) -> bool:
        """A tuple with names, which a class without methods declares."""
        declared = self.classes.get(words)
        if declared is None or not _is_a(declared, "NamedTuple"):
            return False
        kinds = list(fields(declared).values())
        return len(kinds) == len(value) and all(map(self.fits, value, kinds))

    def _stands_for(self, path: str, interface: str) -> bool:
        """Whether a class has the methods of an interface, with the same arguments and results."""
        declared, made = self.classes.get(interface), self.classes.get(path)
        if declared is None or made is None or not (_is_a(declared, "Interface") or _is_a(declared, "ModuleInterface")):
            return False
        own = {part.name: part for part in made.body if isinstance(part, ast.FunctionDef)}
        return all(
            part.name in own and _signature(part) == _signature(own[part.name])
            for part in declared.body
            if isinstance(part, ast.FunctionDef)
        )


def fields(declared: ast.ClassDef) -> dict[str, str]:
    """The attributes that a class declares, with their types; constants left aside."""
    found = {}
    for part in declared.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            words = ast.unparse(part.annotation)
            if not words.startswith("Final["):
                found[part.target.id] = words
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Subscript):
            index = part.targets[0].slice
            if isinstance(index, ast.Constant) and isinstance(index.value, str):
                found[index.value] = ast.unparse(part.value)
    return found


def check_objects(root: Any, types: Types) -> None:
    """Raise :class:`CodeError` where the attributes of an object are not of the types that its class declares."""
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        if isinstance(value, list | tuple):
            seen.add(id(value))
            waiting += value
        elif isinstance(value, dict):
            seen.add(id(value))
            waiting += value.values()
        elif isinstance(value, Made):
            seen.add(id(value))
            _check_object(value, types)
            waiting.append(value.state)


def _check_object(value: Made, types: Types) -> None:
    declared = types.classes.get(value.path)
    if declared is None:
        if not _fits_packed(value, types):
            raise CodeError(f"holds an object of {value.path} whose state is not as PyTorch writes it")
        return
    setter = next((p for p in declared.body if isinstance(p, ast.FunctionDef) and p.name == "__setstate__"), None)
    if setter is not None:
        given = setter.args.args[1].annotation if len(setter.args.args) == 2 else None
        if given is None or not types.fits(value.state, ast.unparse(given)):
            raise CodeError(f"holds an object of {value.path} whose state is not what __setstate__ takes")
        return
    if type(value.state) is not dict:
        raise CodeError(f"holds an object of {value.path} without its attributes")
    for name, words in fields(declared).items():
        if name not in value.state or not types.fits(value.state[name], words):
            raise CodeError(f"holds an object of {value.path} whose attribute {name} is no {words}")


def _fits_packed(value: Made, types: Types) -> bool:
    """Whether the state of packed weights has all the parts that PyTorch takes out of it without looking."""
    state = value.state
    if "Linear" in value.path:
        if not types.fits(state, "Tuple[Tensor, Optional[Tensor]]"):
            return False
        weight, bias = state
        return len(weight.sizes) == 2 and (bias is None or bias.sizes == weight.sizes[:1])
    if types.fits(state, "Tuple[str, List[Tensor], List[Optional[Tensor]]]"):
        settings = state[1][0] if len(state[1]) == 2 and len(state[2]) < 2 else None
        return settings is not None and settings.kind == "ShortStorage" and len(settings.sizes) == 1
    later = types.fits(state, "Tuple[int, List[int], List[Optional[Tensor]]]")  # of version 3
    return later and len(state[2]) == 2 and state[2][1] is not None


def _is_a(declared: ast.ClassDef, base: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == base for one in declared.bases)


def _signature(part: ast.FunctionDef) -> list[str]:
    """Types of a method's arguments, without itself, and of its result."""
    found = [ast.unparse(one.annotation) if one.annotation is not None else "Tensor" for one in part.args.args[1:]]
    return [*found, ast.unparse(part.returns) if part.returns is not None else "Tensor"]


def _split(words: str) -> Iterator[str]:
    """The parts between the commas that stand in no brackets."""
    depth, start = 0, 0
    for place, letter in enumerate(words):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            yield words[start:place]
            start = place + 1
    yield words[start:]
