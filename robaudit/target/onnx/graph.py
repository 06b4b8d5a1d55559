"""An ONNX graph as plain Python: nodes in an order that runs, constants as CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.numpy_helper
import torch
from torch import Tensor

from robaudit.errors import UnsupportedOperatorError

# Wide unsigned types lack most torch kernels, and no classifier computes near their limits: the next signed
# type.
DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT16: torch.int32,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.UINT32: torch.int64,
    onnx.TensorProto.UINT64: torch.int64,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
}
_WIDENED = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "int4": np.int8, "uint4": np.uint8}


@dataclass(frozen=True)
class Node:
    """One operator call; ``version`` is the opset that the file imports for the operator's domain."""

    op: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

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


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """A CPU tensor with the array's values; types that torch lacks are widened."""
    name = array.dtype.name
    if name == "bfloat16":
        return torch.from_numpy(np.array(array.view(np.int16))).view(torch.bfloat16)
    if name in _WIDENED:
        return torch.from_numpy(array.astype(_WIDENED[name]))
    if array.dtype.kind not in "biuf":
        raise UnsupportedOperatorError(f"Constant (of type {name})")
    # A copy: torch needs writable memory, and a constant must not alias the protobuf.
    return torch.from_numpy(np.array(array))


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of nested graphs (branches, loop bodies) included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions."""
    if not model.functions:
        return model
    result: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    return result


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Opset by domain, the default domain under the empty string."""
    return {_domain(entry.domain): int(entry.version) for entry in model.opset_import}


def read(model: onnx.ModelProto) -> Graph:
    """Turn a model into a graph. Nodes may come in any order: ONNX Runtime accepts that."""
    model = inlined(model)
    proto = model.graph
    versions = opsets(model)
    constants: dict[str, Tensor] = {}
    types: dict[str, int] = {}
    for initialiser in proto.initializer:
        types[initialiser.name] = initialiser.data_type
        array = onnx.numpy_helper.to_array(initialiser)
        if array.dtype.kind not in "OUS":
            constants[initialiser.name] = tensor_of(array)
    nodes: list[Node] = []
    for node in _sorted(proto):
        read_node = _node(node, versions)
        if read_node.op == "Constant" and node.attribute[0].type == onnx.AttributeProto.TENSOR:
            types[node.output[0]] = node.attribute[0].t.data_type
        if read_node.op == "QuantizeLinear" and len(node.input) > 2 and node.input[2] in types:
            # The zero point's type says the range; a torch tensor may be wider.
            read_node.attributes["output_dtype"] = types[node.input[2]]
        if read_node.op == "Constant" and not read_node.domain:
            constants[read_node.outputs[0]] = _constant(read_node)
        else:
            nodes.append(read_node)
    inputs = [entry for entry in proto.input if entry.name not in constants]
    graph = Graph(
        nodes=(),
        inputs=tuple(entry.name for entry in inputs),
        outputs=tuple(entry.name for entry in proto.output),
        constants={},
        input_types=_types(inputs),
        output_types=_types(proto.output),
        input_shapes={entry.name: _shape(entry) for entry in inputs},
    )
    return graph.with_nodes(tuple(nodes), constants)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _types(entries: Any) -> dict[str, torch.dtype]:
    found = {entry.name: entry.type.tensor_type.elem_type for entry in entries}
    return {name: DTYPES[code] for name, code in found.items() if code in DTYPES}


def _shape(entry: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in entry.type.tensor_type.shape.dim)


def _node(proto: onnx.NodeProto, versions: dict[str, int]) -> Node:
    domain = _domain(proto.domain)
    return Node(
        op=proto.op_type,
        domain=domain,
        version=versions.get(domain, 1),
        name=proto.name or (proto.output[0] if proto.output else ""),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={attribute.name: _value(attribute) for attribute in proto.attribute},
    )


def _value(attribute: onnx.AttributeProto) -> Any:
    if attribute.type == onnx.AttributeProto.GRAPH:
        return attribute.g
    if attribute.type == onnx.AttributeProto.TENSOR:
        array = onnx.numpy_helper.to_array(attribute.t)
        return array if array.dtype.kind in "OUS" else tensor_of(array)
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [item.decode() for item in value]
    return value


def _constant(node: Node) -> Tensor:
    kind, value = next(iter(node.attributes.items()))
    if kind in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if kind in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
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
