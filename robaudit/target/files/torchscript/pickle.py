"""Reads the structure of a TorchScript archive as PyTorch's unpickler does, and builds nothing of it.

That unpickler calls no Python, but it trusts what it is told: how long a storage is, at which sizes and strides a
tensor looks into it, which type the elements of a list have. Numbers that do not fit would let the model read and
write memory that is not its own.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from robaudit.target.files.torchscript.code import CodeError
from robaudit.target.files.torchscript.operators import CLASSES
from robaudit.target.files.torchscript.types import Enumerated, Made, Tensor, Types

__all__ = ["check_structure"]

BYTES = {1: "Byte Char Bool QInt8 QUInt8", 2: "Short Half BFloat16", 4: "Int Float QInt32 ComplexHalf"}
TYPES = {
    f"{name}Storage": size
    for size, names in (BYTES | {8: "Long Double ComplexFloat", 16: "ComplexDouble"}).items()
    for name in names.split()
}
"""Bytes of an element. Not types of less than a byte, nor of 8 bits in floating point, which no classifier needs."""
QUANTISED = ("QInt8Storage", "QUInt8Storage", "QInt32Storage")
SCHEMES = ("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams")
SCALES, ZEROS = ("DoubleStorage", "FloatStorage"), ("LongStorage", "FloatStorage", "IntStorage")
DEVICE = re.compile(r"(?:cpu|cuda|mps|xpu|meta)(?::\d+)?")
LARGEST = 2**62
MARK = object()
TAG = "torch.jit._pickle.restore_type_tag"
LISTS = {
    f"torch.jit._pickle.build_{name}list": element
    for name, element in (("int", "int"), ("double", "float"), ("bool", "bool"), ("tensor", "Tensor"))
}


@dataclass(frozen=True)
class _Global:
    path: str


@dataclass(frozen=True)
class _Storage:
    kind: str
    count: int


def check_structure(name: str, content: bytes, sizes: Mapping[str, int], types: Types) -> Any:
    """What a record of structure stands for, in plain values.

    Args:
        name: of the record, such as ``data.pkl``.
        content: its bytes.
        sizes: bytes of every record of the archive.
        types: of the archive's code.

    Raises:
        CodeError: it holds what no exporter writes.
    """
    try:
        reader = _Reader(name.removesuffix(".pkl"), sizes, types)
        for operation, argument, _ in pickletools.genops(content):
            reader.step(operation.name, argument)
        (value,) = reader.stack
    except CodeError as error:
        raise CodeError(f"holds the record {name}, which {error}") from error
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CodeError(f"holds the damaged record {name} ({str(error)[:100]})") from error
    return value


class _Reader:
    """The machine of a pickle: PyTorch's instructions alone, and no values that it would take for others."""

    def __init__(self, folder: str, sizes: Mapping[str, int], types: Types) -> None:
        self.folder, self.sizes, self.types = folder, sizes, types
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.steps: dict[str, Callable[[Any], None]] = {
            "PROTO": self._protocol,
            "STOP": lambda _: None,
            "MARK": lambda _: self.stack.append(MARK),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "NEWTRUE": lambda _: self.stack.append(True),
            "NEWFALSE": lambda _: self.stack.append(False),
            "NONE": lambda _: self.stack.append(None),
            "TUPLE": lambda _: self.stack.append(tuple(self._marked())),
            "TUPLE1": lambda _: self.stack.append(self._last(1)),
            "TUPLE2": lambda _: self.stack.append(self._last(2)),
            "TUPLE3": lambda _: self.stack.append(self._last(3)),
            "APPEND": lambda _: self._append(self._last(1)),
            "APPENDS": lambda _: self._append(self._marked()),
            "SETITEM": lambda _: self._items(self._last(2)),
            "SETITEMS": lambda _: self._items(self._marked()),
            "BINPERSID": lambda _: self.stack.append(self._storage(self.stack.pop())),
            "GLOBAL": self._global,
            "NEWOBJ": lambda _: self._new(),
            "BUILD": lambda _: self._call(),
            "REDUCE": lambda _: self._call(),
            **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT"), self.stack.append),
            **dict.fromkeys(("LONG1", "BINUNICODE"), self._plain),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda place: self.stack.append(self.memo[place])),
        }

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction."""
        if name not in self.steps:
            raise CodeError(f"uses the instruction {name}")
        self.steps[name](argument)

    def _protocol(self, version: int) -> None:
        if version != 2:
            raise CodeError(f"is of the protocol {version}")

    def _plain(self, value: Any) -> None:
        if isinstance(value, int) and abs(value) >= LARGEST * 2:
            raise CodeError("holds a number of more than 64 bits")
        self.stack.append(value)

    def _put(self, place: int) -> None:
        if self.stack[-1] is MARK:
            raise CodeError("keeps a mark")
        self.memo[place] = self.stack[-1]

    def _marked(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:  # an empty stack raises IndexError
            place -= 1
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count or MARK in (found := tuple(self.stack[-count:])):
            raise CodeError("takes more values than there are")
        del self.stack[-count:]
        return found

    def _append(self, values: Sequence[Any]) -> None:
        if type(self.stack[-1]) is not list or self.types.is_settled(self.stack[-1]):
            raise CodeError("appends to what is no list")
        self.stack[-1].extend(values)

    def _items(self, values: Sequence[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(values) % 2 or self.types.is_settled(self.stack[-1]):
            raise CodeError("sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, int, float, bool, Enumerated):
                raise CodeError("has a dictionary with odd keys")
            self.stack[-1][key] = value

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        path = f"{module}.{name}"
        known = path in FUNCTIONS or path in LISTS or path == TAG or path in self.types.classes or path in CLASSES
        if not known and not (module == "torch" and (name in TYPES or name in SCHEMES)):
            raise CodeError(f"names {path}")
        self.stack.append(_Global(path))

    def _new(self) -> None:
        if self.stack.pop() != () or not isinstance(self.stack[-1], _Global):
            raise CodeError("makes an object of what is no class")
        self.stack[-1] = Made(self.stack[-1].path)

    def _call(self) -> None:
        function, argument = self._last(2)
        if isinstance(function, Made):
            self.stack.append(Made(function.path, argument, True))
        elif not isinstance(function, _Global):
            raise CodeError("calls what is no function")
        elif function.path in FUNCTIONS:
            self.stack.append(FUNCTIONS[function.path](*argument))
        elif function.path in LISTS:
            (values,) = argument
            self.stack.append(self._tagged(values, f"List[{LISTS[function.path]}]"))
        elif function.path == TAG:
            self.stack.append(self._tagged(*argument))
        elif function.path in self.types.classes:  # a value of an enumeration
            self.stack.append(Enumerated(function.path, argument))
        else:
            raise CodeError(f"calls {function.path}")

    def _tagged(self, value: Any, words: Any) -> Any:
        """A list or dictionary that is said to be of a type: its elements must be, and no others may follow."""
        if type(words) is not str or type(value) not in (list, dict) or not self.types.fits(value, words):
            raise CodeError(f"has a {type(value).__name__} that is no {str(words)[:80]}")
        return value

    def _storage(self, found: Any) -> _Storage:
        word, kind, key, device, count = found
        if word != "storage" or not isinstance(kind, _Global) or type(key) is not str or type(count) is not int:
            raise CodeError("names a storage in an odd way")
        kind_name = kind.path.removeprefix("torch.")
        if kind_name not in TYPES or not DEVICE.fullmatch(device) or count < 0:
            raise CodeError(f"names a storage of {kind.path} on {device}, which is not known")
        size = self.sizes.get(f"{self.folder}/{key}")
        if count and (size is None or count > size // TYPES[kind_name]):
            raise CodeError(f"wants {count} numbers of a storage that has fewer")
        return _Storage(kind_name, count)


def _numbers(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or any(type(value) is not int or value < 0 for value in values):
        raise CodeError("has a tensor with odd sizes")
    return values


def _placed(storage: Any, offset: Any, sizes: Any, strides: Any) -> Tensor:
    """A tensor, which must lie in its storage."""
    sizes, strides = _numbers(sizes), _numbers(strides)
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0 or len(sizes) != len(strides):
        raise CodeError("has a tensor with odd sizes")
    within = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if (0 not in sizes and within >= storage.count) or offset > storage.count:
        raise CodeError("has a tensor that reaches out of its storage")
    return Tensor(storage.kind, sizes)


def _tensor(storage: Any, offset: Any, sizes: Any, strides: Any, gradient: Any, hooks: Any, *bits: Any) -> Tensor:
    made = _placed(storage, offset, sizes, strides)
    if made.kind in QUANTISED or type(gradient) is not bool or hooks is not None:
        raise CodeError("has a tensor that is rebuilt in an odd way")
    if bits and (len(bits) > 1 or type(bits[0]) is not dict or set(bits[0]) - {"conj", "neg"}):
        raise CodeError("has a tensor that is rebuilt in an odd way")
    return made


def _quantised(storage: Any, offset: Any, sizes: Any, strides: Any, how: Any, gradient: Any, hooks: Any) -> Tensor:
    made = _placed(storage, offset, sizes, strides)
    if made.kind not in QUANTISED or type(gradient) is not bool or hooks is not None or type(how) is not tuple:
        raise CodeError("has a quantised tensor that is rebuilt in an odd way")
    scheme = how[0].path.removeprefix("torch.") if isinstance(how[0], _Global) else ""
    if scheme == "per_tensor_affine" and len(how) == 3 and (type(how[1]), type(how[2])) == (float, int):
        return made
    if scheme in SCHEMES[1:] and len(how) == 4:
        _, scales, zeros, axis = how
        along = made.sizes[axis : axis + 1] if type(axis) is int and axis >= 0 else ()
        fitting = isinstance(scales, Tensor) and isinstance(zeros, Tensor) and scales.sizes == zeros.sizes == along
        if along and fitting and scales.kind in SCALES and zeros.kind in ZEROS:
            return made
    raise CodeError("has a quantised tensor whose scales do not fit")


def _device(name: Any) -> torch.device:
    if type(name) is not str or not DEVICE.fullmatch(name):
        raise CodeError("names an odd device")
    return torch.device(name)


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise CodeError("has an odd complex number")
    return complex(real, imaginary)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_qtensor": _quantised,
    "collections.OrderedDict": lambda: None,
    "torch.device": _device,
    "builtins.complex": _complex,
}
