"""From a model's protobuf to a :class:`Graph`.

Names of nested graphs (branches, loop bodies) are made unique when read, and their constants belong to the
outermost graph: a nested graph reads them, like every outer value, by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.numpy_helper
import torch
from torch import Tensor

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.onnx.element_types import CARRIERS, TYPED, WIDENED, annotate
from robaudit.target.onnx.graph import ML, Graph, Node

__all__ = ["read", "tensor_of"]


def read(model: onnx.ModelProto, output: str | None = None) -> Graph:
    """Turn a model into a graph. Nodes may come in any order: ONNX Runtime accepts that.

    ``output``: the one value of interest, an output or any value inside; None for all outputs.

    Raises:
        ValueError: there is no such value.
        UnsupportedOperatorError: a constant of a type that no tensor holds.
    """
    model = _inlined(model)
    proto = model.graph
    reader = _Reader(_opsets(model))
    nodes = reader.nodes(proto, {}, "")
    inputs = [entry for entry in proto.input if entry.name not in reader.constants]
    outputs = tuple(entry.name for entry in proto.output) if output is None else (output,)
    made = {name for node in nodes for name in node.outputs}.union(reader.constants, (e.name for e in inputs))
    for name in outputs:
        if name not in made:
            raise ValueError(f"the graph makes no value {name!r}")
    graph = Graph(
        nodes=(),
        inputs=tuple(entry.name for entry in inputs),
        outputs=outputs,
        constants={},
        input_types=_types(inputs),
        output_types=_types([entry for entry in proto.output if entry.name in outputs]),
        input_shapes={entry.name: _shape(entry) for entry in inputs},
    )
    return graph.with_nodes(tuple(nodes), reader.constants)


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """A CPU tensor with the array's values; types that torch lacks are widened.

    Raises:
        UnsupportedOperatorError: a type that no tensor holds.
    """
    name = array.dtype.name
    if name == "bfloat16":
        return torch.from_numpy(np.array(array.view(np.int16))).view(torch.bfloat16)
    if name in WIDENED:
        return torch.from_numpy(array.astype(WIDENED[name]))
    if array.dtype.kind not in "biuf":
        raise UnsupportedOperatorError(f"Constant (of type {name})")
    # A copy: torch needs writable memory, and a constant must not alias the protobuf.
    return torch.from_numpy(np.array(array))


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions."""
    if not model.functions:
        return model
    result: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    return result


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Opset by domain, the default domain under the empty string."""
    return {_domain(entry.domain): int(entry.version) for entry in model.opset_import}


class _Reader:
    """Collects the constants of all graphs of a model."""

    def __init__(self, versions: dict[str, int]) -> None:
        self.constants: dict[str, Tensor] = {}
        self._versions = versions
        self._types: dict[str, int] = {}
        self._nested = 0

    def nodes(self, proto: onnx.GraphProto, scope: dict[str, str], prefix: str) -> list[Node]:
        """The nodes of one graph, in an order that runs; ``scope`` maps the file's names to unique ones."""
        for entry in proto.input:
            self._types[scope.get(entry.name, entry.name)] = entry.type.tensor_type.elem_type
        for initialiser in proto.initializer:
            name = scope.get(initialiser.name, initialiser.name)
            self._types[name] = initialiser.data_type
            array = onnx.numpy_helper.to_array(initialiser)
            if array.dtype.kind not in "OUS":
                self.constants[name] = tensor_of(array)
        found: list[Node] = []
        for node in _sorted(proto):
            read_node = self._node(node, scope, prefix)
            if (read_node.op, read_node.domain) != ("Constant", ""):
                found.append(read_node)
                continue
            if node.attribute[0].type == onnx.AttributeProto.TENSOR:
                self._types[read_node.outputs[0]] = node.attribute[0].t.data_type
            constant = _constant(read_node)
            if constant is not None:
                self.constants[read_node.outputs[0]] = constant
        return found

    def _node(self, proto: onnx.NodeProto, scope: dict[str, str], prefix: str) -> Node:
        domain = _domain(proto.domain)
        read_node = Node(
            op=proto.op_type,
            domain=domain,
            version=self._versions.get(domain, 1),
            name=prefix + (proto.name or (proto.output[0] if proto.output else "")),
            inputs=tuple(scope.get(name, name) for name in proto.input),
            outputs=tuple(scope.get(name, name) for name in proto.output),
            attributes={a.name: _value(a) for a in proto.attribute if a.type != onnx.AttributeProto.GRAPH},
        )
        if not domain or (domain, read_node.op) in TYPED:
            types = annotate(read_node.op, read_node.inputs, read_node.attributes, self._types)
            made = zip(read_node.outputs, types, strict=False)
            self._types.update((name, code) for name, code in made if name and code)
        if domain == ML:
            read_node.attributes.update(_ml_weights(proto))
        nested = {a.name: a.g for a in proto.attribute if a.type == onnx.AttributeProto.GRAPH}
        if not nested:
            return read_node
        return read_node.with_graphs({name: self._graph(graph, scope) for name, graph in nested.items()})

    def _graph(self, proto: onnx.GraphProto, scope: dict[str, str]) -> Graph:
        """A nested graph; what it defines is renamed, as the same name may be another's in the next branch."""
        self._nested += 1
        prefix = f"{proto.name or 'graph'}.{self._nested}/"
        local = [entry.name for entry in (*proto.input, *proto.initializer)]
        local += [name for node in proto.node for name in node.output]
        inner = scope | {name: prefix + name for name in local if name}
        nodes = tuple(self.nodes(proto, inner, prefix))
        return Graph(
            nodes=nodes,
            inputs=tuple(inner[entry.name] for entry in proto.input),
            outputs=tuple(inner.get(entry.name, entry.name) for entry in proto.output),
            constants={},
            input_types={},
            output_types={},
            input_shapes={},
        )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _types(entries: Any) -> dict[str, torch.dtype]:
    found = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    return {name: CARRIERS[code] for name, code in found.items() if code in CARRIERS}


def _shape(entry: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in entry.type.tensor_type.shape.dim)


def _value(attribute: onnx.AttributeProto) -> Any:
    if attribute.type == onnx.AttributeProto.TENSOR:
        array = onnx.numpy_helper.to_array(attribute.t)
        return array if array.dtype.kind in "OUS" else tensor_of(array)
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [item.decode() for item in value]
    return value


def _ml_weights(proto: onnx.NodeProto) -> dict[str, Tensor]:
    """The weights of an ai.onnx.ml node, which are attributes: as tensors they follow the graph's precision.

    ``one`` has the type in which such a node computes, float32 until the graph is retyped.
    """
    weights = {
        a.name: torch.tensor(list(a.floats), dtype=torch.float32)
        for a in proto.attribute
        if a.type == onnx.AttributeProto.FLOATS
    }
    return {**weights, "one": torch.ones((), dtype=torch.float32)}


def _constant(node: Node) -> Tensor | None:
    """The value of a Constant node; None for strings, which nothing here can read."""
    kind, value = next(iter(node.attributes.items()))
    if kind in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if kind in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    if kind in ("value_string", "value_strings") or (isinstance(value, np.ndarray) and value.dtype.kind in "OUS"):
        return None
    if not isinstance(value, Tensor):
        raise node.unsupported(f"attribute {kind}")
    return value


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that a node reads, outer values captured by its nested graphs included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _reads(inner)
            yield from (output.name for output in attribute.g.output)


def _sorted(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Depth first over producers, without recursion: graphs are deeper than Python's stack."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    order: list[onnx.NodeProto] = []
    done = [False] * len(graph.node)
    for root in range(len(graph.node)):
        stack = [] if done[root] else [(root, _producers(graph.node[root], producer))]
        while stack:
            index, pending = stack[-1]
            following = next((i for i in pending if not done[i] and i != index), None)
            if following is not None:
                stack.append((following, _producers(graph.node[following], producer)))
                continue
            stack.pop()
            if not done[index]:
                done[index] = True
                order.append(graph.node[index])
    return order


def _producers(node: onnx.NodeProto, producer: dict[str, int]) -> Iterator[int]:
    return iter([producer[name] for name in _reads(node) if name in producer])
