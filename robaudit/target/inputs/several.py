"""Several inputs: one is attacked, the others keep the values that the user gives."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.npz import open_arrays, read_npy
from robaudit.errors import UsageError, reason
from robaudit.suggest import did_you_mean

__all__ = ["DeclaredInput", "FixedInput", "choose_input"]

HOW = "a number, a list such as 1,0,0, zeros, ones, or an .npy or .npz file"
MOST_VALUES = 2**28
"""Numbers that a fixed input may hold."""


@dataclass(frozen=True)
class DeclaredInput:
    """An input as the file declares it; None where a dimension is free, with its symbol if it has one.

    ``optional``: may be left out.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    symbols: tuple[str | None, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.size} {self.dtype}"

    @property
    def size(self) -> str:
        """The shape in words."""
        if self.shape is None:
            return "?"
        return "x".join("?" if d is None else str(d) for d in self.shape) or "scalar"


@dataclass(frozen=True)
class FixedInput:
    """An input that keeps its value.

    Args:
        declared: the input.
        value: given, in the file's type.
        text: as the user gave it.
        batch_axis: along which the value is repeated for a batch, or None.
    """

    declared: DeclaredInput
    value: NDArray[Any]
    text: str
    batch_axis: int | None

    def rows(self, count: int) -> NDArray[Any]:
        """The value for a batch of so many inputs."""
        if self.batch_axis is None or count == 1:
            return self.value
        return np.repeat(self.value, count, axis=self.batch_axis)


def choose_input(
    path: Path, inputs: Sequence[DeclaredInput], fixed: Mapping[str, str], wanted: str | None = None
) -> tuple[DeclaredInput, list[FixedInput]]:
    """The attacked input, and the others with their values.

    Args:
        path: of the model, for messages.
        inputs: all that must be fed.
        fixed: values by name, as text.
        wanted: name of the attacked input, where the user gives it.

    Raises:
        UsageError: an unknown name, a value that does not fit, or inputs without a value.
    """
    names = [i.name for i in inputs]
    for name, what in (*((n, "--input") for n in fixed), *([(wanted, "--input-name")] if wanted else [])):
        if name not in names:
            raise UsageError(f"{what}: {path.name} has no input {name!r}{_suggested(name, names)}")
    if wanted is not None and wanted in fixed:
        raise UsageError(f"--input-name {wanted} names the attacked input, and --input {wanted}=... fixes it")
    free = [i for i in inputs if i.name not in fixed and not i.optional]
    if not free:
        raise UsageError(f"--input fixes every input of {path.name}; leave the one that is attacked")
    attacked = next((i for i in free if i.name == wanted), free[0])
    others = [i for i in free if i is not attacked]
    if others and wanted is not None:
        flags = " ".join(f"--input {i.name}=VALUE" for i in others)
        raise UsageError(f"{path} has inputs without a value ({', '.join(map(str, others))}); give {flags} ({HOW})")
    if others and not fixed and all(i.shape is not None and len(i.shape) == 2 and i.shape[1] == 1 for i in inputs):
        raise UsageError(
            f"{path} takes the {len(inputs)} columns of a table as an input each ({', '.join(map(str, inputs))}); "
            "export it with one input for all features, text encoded as numbers before it (skl2onnx: initial_types="
            f"[('X', FloatTensorType([None, {len(inputs)}]))]), or fix all but one with --input NAME=VALUE"
        )
    if others:
        flags = " ".join(f"--input {i.name}=VALUE" for i in others)
        raise UsageError(
            f"{path} has {len(inputs)} inputs ({', '.join(map(str, inputs))}); fix all but the attacked one, such as "
            f"{flags} ({HOW}), or name the attacked one with --input-name"
        )
    return attacked, [_fixed(i, fixed[i.name], attacked) for i in inputs if i.name in fixed]


def _suggested(name: str, names: Sequence[str]) -> str:
    hint = did_you_mean(name, names)
    return hint if hint.startswith("; known") else f"{hint.rstrip('?')} (known are {', '.join(names)})"


def _fixed(declared: DeclaredInput, text: str, attacked: DeclaredInput) -> FixedInput:
    value = _value(declared, text)
    axis = _batch_axis(declared, attacked)
    if axis is not None and value.ndim > axis and value.shape[axis] != 1:
        axis = None  # it holds a whole batch, or the axis is something else
    return FixedInput(declared, value, text, axis if value.ndim else None)


def _batch_axis(declared: DeclaredInput, attacked: DeclaredInput) -> int | None:
    """The axis that follows the attacked input's batch: of the same symbol, else the first if free, else the only."""
    symbol = attacked.symbols[0] if attacked.symbols else None
    if symbol is not None and symbol in declared.symbols:
        return declared.symbols.index(symbol)
    free = [axis for axis, size in enumerate(declared.shape or ()) if size is None]
    return free[0] if free and (free[0] == 0 or len(free) == 1) else None


def _value(declared: DeclaredInput, text: str) -> NDArray[Any]:
    where = f"--input {declared.name}"
    kind = declared.dtype
    if text.lower().endswith((".npy", ".npz")):
        return _shaped(declared, _stored(declared, Path(os.path.expanduser(text))), where)
    if kind == "string":
        return np.full(_whole(declared), text, dtype=object)
    if text in ("zeros", "ones"):
        shape = _whole(declared)
        return np.full(shape, text == "ones", dtype=_numpy(declared, where))
    words = {"true": 1.0, "false": 0.0}
    try:
        numbers = [words.get(part.strip().lower()) for part in text.split(",")]
        given = [float(part) if n is None else n for n, part in zip(numbers, text.split(","), strict=True)]
    except ValueError as error:
        raise UsageError(f"{where}={text} is not {HOW}") from error
    if not all(map(math.isfinite, given)):
        raise UsageError(f"{where}={text} must hold finite numbers")
    return _shaped(declared, np.asarray(given), where)


def _stored(declared: DeclaredInput, path: Path) -> NDArray[Any]:
    try:
        if path.suffix.lower() == ".npy":
            return read_npy(path)
        with open_arrays(path) as content:
            names = content.files
            name = declared.name if declared.name in names else names[0] if len(names) == 1 else None
            if name is None:
                raise UsageError(f"{path} holds {', '.join(names) or 'nothing'}, and no array {declared.name!r}")
            return content[name]
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"--input {declared.name}: there is no file {path}") from error
    except Exception as error:  # a damaged archive may break NumPy anywhere
        raise UsageError(f"--input {declared.name}: {path} cannot be read: {reason(error, 200)}") from error


def _numpy(declared: DeclaredInput, where: str) -> np.dtype[Any]:
    try:
        return np.dtype(declared.dtype)
    except TypeError as error:
        raise UsageError(f"{where}: values of type {declared.dtype} cannot be given") from error


def _whole(declared: DeclaredInput) -> tuple[int, ...]:
    """The declared shape with 1 wherever it is free."""
    shape = tuple(1 if d is None else d for d in declared.shape or ())
    if math.prod(shape) > MOST_VALUES:
        raise UsageError(f"the input {declared} is too large to fix")
    return shape


def _shaped(declared: DeclaredInput, array: NDArray[Any], where: str) -> NDArray[Any]:
    """In the declared type and shape; one number fills it."""
    kind = _numpy(declared, where)
    if kind.kind in "iu" and (array.dtype.kind not in "iuf" or not np.array_equal(array, np.rint(array))):
        raise UsageError(f"{where} must hold whole numbers, as the input is of type {declared.dtype}")
    if kind.kind in "iu" and array.size:
        limits = np.iinfo(kind)
        if array.min() < limits.min or array.max() > limits.max:
            raise UsageError(f"{where} holds numbers that the type {declared.dtype} cannot")
    array = np.asarray(array).astype(kind)
    shape = declared.shape
    if shape is None or _fits(array.shape, shape):
        return array
    if array.size == 1:
        return np.full(_whole(declared), array.reshape(-1)[0], dtype=kind)
    free = [axis for axis, size in enumerate(shape) if size is None]
    known = math.prod(size for size in shape if size is not None)
    target: list[int] | None = None
    if not free and array.size == known:
        target = [size or 0 for size in shape]
    elif free and known and array.size % known == 0:  # the last free axis takes what is left
        target = [1 if size is None else size for size in shape]
        target[free[-1]] = array.size // known
    if target is None or (array.ndim > 1 and [d for d in array.shape if d != 1] != [d for d in target if d != 1]):
        got = "x".join(map(str, array.shape)) or "scalar"
        raise UsageError(f"{where}: the value is {got}, and the model takes {declared.size}")
    return array.reshape(target)


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(d in (None, s) for s, d in zip(shape, declared, strict=True))
