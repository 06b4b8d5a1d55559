"""An ONNX graph as plain Python: nodes in an order that runs, constants as CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import UnsupportedOperatorError

ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Node:
    """One operator call; ``version`` is the opset that the file imports for the operator's domain.

    ``captured``: outer values that its nested graphs read; they are the last of ``inputs``.
    """

    op: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    captured: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """``domain::Op-opset``, the default domain left out."""
        return (f"{self.domain}::" if self.domain else "") + f"{self.op}-{self.version}"

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """A floating-point attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        return str(self.attributes.get(name, default))

    def integers(self, name: str) -> list[int] | None:
        """A list of integers, or None when the attribute is absent."""
        value = self.attributes.get(name)
        return None if value is None else [int(v) for v in value]

    def graph(self, name: str) -> Graph:
        """A nested graph."""
        found = self.attributes.get(name)
        if not isinstance(found, Graph):
            raise self.unsupported(f"no attribute {name}")
        return found

    @property
    def graphs(self) -> dict[str, Graph]:
        """The nested graphs by attribute."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, Graph)}

    def with_graphs(self, graphs: Mapping[str, Graph]) -> Node:
        """The same call with other nested graphs, which may read other outer values."""
        own = self.inputs[: len(self.inputs) - len(self.captured)]
        captured = tuple(dict.fromkeys(name for graph in graphs.values() for name in graph.captured()))
        attributes = {**self.attributes, **graphs}
        return replace(self, inputs=own + captured, captured=captured, attributes=attributes)

    def wants(self, output: int) -> bool:
        """Whether the graph names (hence may read) this output."""
        return len(self.outputs) > output and bool(self.outputs[output])

    def unsupported(self, why: str) -> UnsupportedOperatorError:
        """The error for a variant of a known operator that has no translation."""
        return UnsupportedOperatorError(f"{self.qualified} ({why})", self.name)


@dataclass(frozen=True)
class Graph:
    """A sorted graph without Constant nodes: their values are ``constants``, beside the initialisers."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: dict[str, Tensor]
    input_types: dict[str, torch.dtype]
    output_types: dict[str, torch.dtype]
    input_shapes: dict[str, tuple[int | None, ...]]

    def walk(self) -> Iterator[Node]:
        """Every node, those of nested graphs included."""
        for node in self.nodes:
            yield node
            for graph in node.graphs.values():
                yield from graph.walk()

    def captured(self) -> list[str]:
        """Names that are read here and made elsewhere."""
        made = {*self.inputs, *(name for node in self.nodes for name in node.outputs)}
        read = [name for node in self.nodes for name in node.inputs] + list(self.outputs)
        return [name for name in dict.fromkeys(read) if name and name not in made]

    def with_nodes(self, nodes: tuple[Node, ...], constants: dict[str, Tensor]) -> Graph:
        """The same interface around other nodes, without nodes and constants that no output reads."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        used = {name: value for name, value in constants.items() if name in needed}
        return replace(self, nodes=tuple(reversed(kept)), constants=used)
