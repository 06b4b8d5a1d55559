"""How the values of an ONNX graph hang together, as far as finding the class scores needs it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.numpy_helper
from numpy.typing import NDArray

__all__ = ["Wiring", "attribute", "lookup_size", "told"]


class Wiring:
    """Who makes a value, from what, and how late.

    Args:
        model: parsed; local functions are inlined (``model`` of this object is the inlined one).
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model: onnx.ModelProto = onnx.inliner.inline_local_functions(model) if model.functions else model
        graph = self.model.graph
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._held = {tensor.name: tensor for tensor in graph.initializer}

    @functools.cached_property
    def opset(self) -> int:
        """Version of the default domain."""
        return max((int(o.version) for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=1)

    @functools.cached_property
    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """Nodes that read each value."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @functools.cached_property
    def uses(self) -> Counter[str]:
        """How often nodes read each value."""
        return Counter({name: len(nodes) for name, nodes in self.readers.items()})

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a value; None for inputs and constants."""
        return self._makers.get(name)

    def constant(self, name: str) -> NDArray[Any] | None:
        """A value that is written in the file; None where it is computed, given, or unreadable."""
        tensor = self._held.get(name)
        node = self._makers.get(name)
        try:
            if tensor is not None:
                return np.asarray(onnx.numpy_helper.to_array(tensor))
            if node is not None and node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                value = onnx.helper.get_attribute_value(node.attribute[0])
                array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
                return np.asarray(array)
        except Exception:  # damaged data: the runtime says so
            return None
        return None

    def is_constant(self, name: str) -> bool:
        """Whether a value is written in the file."""
        node = self._makers.get(name)
        return name in self._held or (node is not None and node.op_type == "Constant")

    def number(self, name: str) -> float | None:
        """A constant that is one number."""
        array = self.constant(name) if name else None
        return (
            float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind in "fiu" else None
        )

    def ancestors(self, name: str) -> set[str]:
        """All values that one is computed from."""
        found: set[str] = set()
        open_ = [name]
        while open_:
            node = self._makers.get(open_.pop())
            for source in () if node is None else _reads(node):
                if source and source not in found:
                    found.add(source)
                    open_.append(source)
        return found

    def depth(self, name: str) -> int:
        """Nodes on the longest way from an input to a value."""
        return self._depths.get(name, 0)

    @functools.cached_property
    def _depths(self) -> dict[str, int]:
        """By depth-first search without recursion; a cycle, which no runtime accepts, is cut."""
        depths: dict[str, int] = {}
        for start in self._makers:
            stack = [start]
            entered: set[str] = set()
            while stack:
                name = stack[-1]
                node = self._makers.get(name)
                missing = [] if node is None else [s for s in _reads(node) if s in self._makers and s not in depths]
                if name in depths or not missing or name in entered:
                    if name not in depths:
                        sources = () if node is None else _reads(node)
                        depths[name] = 1 + max((depths.get(s, 0) for s in sources), default=0)
                    stack.pop()
                else:
                    entered.add(name)
                    stack += missing
        return depths


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, those that its nested graphs capture included."""
    yield from node.input
    for entry in node.attribute:
        for graph in (entry.g, *entry.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value; bytes as text."""
    for entry in node.attribute:
        if entry.name == name:
            value = onnx.helper.get_attribute_value(entry)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default


def told(node: onnx.NodeProto) -> str:
    """A node as messages name it: ``Op (name)``."""
    return f"{node.op_type} ({node.name or (node.output[0] if node.output else '')})"


MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose", "Slice", "Concat")


def lookup_size(wiring: Wiring, name: str) -> int | None:
    """Rows of the table that whole numbers are looked up in (Gather, one-hot): they are names, not amounts.

    None where they are amounts; 2 where the size is not written in the file.
    """
    open_, seen = [name], {name}
    while open_:
        value = open_.pop()
        for node in wiring.readers.get(value, ()):
            kind = node.op_type
            if kind in ("Gather", "GatherElements", "GatherND") and list(node.input)[1:2] == [value]:
                return _rows(wiring, node.input[0], attribute(node, "axis", 0))
            if kind == "OneHot" and node.input[0] == value:
                return int(wiring.number(node.input[1]) or 2)
            if kind == "EmbedLayerNormalization" and node.input[0] == value:
                return _rows(wiring, node.input[2], 0)
            if kind == "Equal" and any(other != value and _counts(wiring, other) for other in node.input):
                return 2
            if kind in MOVES and not (kind == "Cast" and attribute(node, "to") in (1, 10, 11, 16)):
                fresh = [made for made in node.output if made and made not in seen]
                seen.update(fresh)
                open_ += fresh
    return None


def _rows(wiring: Wiring, table: str, axis: int) -> int:
    array = wiring.constant(table)
    return 2 if array is None or array.ndim <= axis else int(array.shape[axis])


def _counts(wiring: Wiring, name: str) -> bool:
    """Whether a value is written in the file, or counted from what is (Range, Expand): classes to compare with."""
    while (node := wiring.maker(name)) is not None and not wiring.is_constant(name):
        if node.op_type == "Range":
            return True
        if node.op_type not in MOVES:
            return False
        name = node.input[0]
    return wiring.is_constant(name)
