"""Arguments of a TorchScript module: one is attacked, the others keep the values that the user gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robaudit.data.npz import read_npy
from robaudit.errors import UsageError, reason
from robaudit.suggest import did_you_mean
from robaudit.target.inputs.several import DeclaredInput

__all__ = ["Argument", "choose_arguments", "declared_arguments"]

TYPES = {"Tensor": "tensor", "int": "int64", "float": "float64", "bool": "bool", "number": "float64"}


@dataclass(frozen=True)
class Argument:
    """An argument of ``forward``; ``value``: its default, or what the user gives."""

    declared: DeclaredInput
    value: Any = None
    text: str = ""

    def rows(self, count: int) -> Any:
        """The value for a batch of so many inputs: a tensor of one row is repeated."""
        value = self.value
        if isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == 1 and count > 1:
            return value.expand(count, *value.shape[1:])
        return value


def declared_arguments(module: torch.jit.ScriptModule) -> list[Argument]:
    """The arguments of a module's ``forward``, without itself; empty where it does not say."""
    try:
        forward: Any = module.forward
        given = forward.schema.arguments[1:]
    except (AttributeError, RuntimeError):
        return []
    found = []
    for argument in given:
        kind = str(argument.type)
        optional = argument.has_default_value() or kind.startswith("Optional")
        declared = DeclaredInput(argument.name, None, TYPES.get(kind, kind), optional=optional)
        found.append(Argument(declared, argument.default_value if argument.has_default_value() else None))
    return found


def choose_arguments(
    path: Path, arguments: Sequence[Argument], fixed: Mapping[str, str], wanted: str | None
) -> tuple[int, list[Argument]]:
    """(place of the attacked argument, the others in order with their values).

    Args:
        path: of the module, for messages.
        arguments: as declared.
        fixed: values as text, by name or place ("1").
        wanted: name or place of the attacked argument, where the user gives it.

    Raises:
        UsageError: an unknown name, a value that does not fit, or arguments without a value.
    """
    names = [argument.declared.name for argument in arguments]

    def place_of(name: str, flag: str) -> int:
        if name in names:
            return names.index(name)
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        raise UsageError(f"{flag}: {path.name} has no input {name!r}{did_you_mean(name, names)}")

    given = {place_of(name, "--input"): text for name, text in fixed.items()}
    tensors = [i for i, a in enumerate(arguments) if a.declared.dtype == "tensor" and i not in given]
    if wanted is not None:
        attacked = place_of(wanted, "--input-name")
        if attacked in given:
            raise UsageError(f"--input-name {wanted} names the attacked input, and --input {wanted}=... fixes it")
    elif not tensors and arguments:
        raise UsageError(f"{path} takes no tensor that is not fixed ({', '.join(names)})")
    else:
        attacked = tensors[0] if tensors else 0
    values = []
    missing = []
    for place, argument in enumerate(arguments):
        if place == attacked:
            continue
        if place in given:
            values.append(Argument(argument.declared, _value(argument.declared, given[place]), given[place]))
        elif argument.declared.optional:
            values.append(Argument(argument.declared, argument.value, "default"))
        else:
            missing.append(argument.declared)
    if missing:
        listing = ", ".join(f"{i.name} ({i.dtype})" for i in missing)
        flags = " ".join(f"--input {i.name}=VALUE" for i in missing)
        raise UsageError(
            f"{path} has inputs without a value ({listing}); give {flags} (a number, a list, or an .npy file)"
        )
    return attacked, values


def _value(declared: DeclaredInput, text: str) -> Any:
    where = f"--input {declared.name}={text}"
    if text.lower().endswith(".npy"):
        try:
            return torch.from_numpy(read_npy(Path(os.path.expanduser(text))))
        except UsageError:
            raise
        except Exception as error:  # a damaged file may break NumPy anywhere
            raise UsageError(f"{where}: the file cannot be read: {reason(error, 200)}") from error
    kind = declared.dtype
    if kind == "bool" or text.lower() in ("true", "false"):
        if text.lower() not in ("true", "false", "0", "1"):
            raise UsageError(f"{where} must be true or false")
        return text.lower() in ("true", "1")
    if kind == "str":
        return text
    try:
        numbers: list[Any] = [int(p) if p.strip().lstrip("+-").isdecimal() else float(p) for p in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{where} is not a number, a list such as 1,0,0, or an .npy file") from error
    if kind == "tensor" or "Tensor" in kind:
        return torch.tensor(numbers[0] if len(numbers) == 1 else numbers)
    if kind.startswith("List"):
        return numbers
    if len(numbers) != 1 or (kind == "int64" and not isinstance(numbers[0], int)):
        raise UsageError(f"{where} must be one {'whole ' if kind == 'int64' else ''}number")
    return float(numbers[0]) if kind == "float64" else numbers[0]
