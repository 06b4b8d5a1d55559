"""The operators of an ONNX graph, and which of them have a translation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import onnx

from robaudit.target.onnx.randomness import DRAWING
from robaudit.target.onnx.registry import find

__all__ = ["OperatorUse", "drawing_operators", "foreign_domains", "operator_uses", "parameters"]

KNOWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.training"}
"""Those that ONNX Runtime itself brings; others are of custom libraries, or local functions."""


@dataclass
class OperatorUse:
    """How often an operator occurs, nested graphs included; ``nodes``: names where it has no translation."""

    operator: str
    count: int = 0
    supported: bool = True
    nodes: list[str] = field(default_factory=list)


def operator_uses(model: onnx.ModelProto) -> list[OperatorUse]:
    """All operators as ``domain::Op-opset``, those without a translation first, then by falling count.

    Args:
        model: without local functions.
    """
    versions = {o.domain if o.domain != "ai.onnx" else "": int(o.version) for o in model.opset_import}
    found: dict[str, OperatorUse] = {}
    for node in _nodes(model.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        name = (f"{domain}::" if domain else "") + f"{node.op_type}-{versions.get(domain, 1)}"
        use = found.setdefault(name, OperatorUse(name))
        use.count += 1
        if find(domain, node.op_type) is None and (domain, node.op_type) != ("", "Constant"):
            use.supported = False
            use.nodes.append(node.name or (node.output[0] if node.output else ""))
    return sorted(found.values(), key=lambda use: (use.supported, -use.count, use.operator))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def drawing_operators(model: onnx.ModelProto) -> tuple[str, ...]:
    """``Op (node)`` of all that answers by chance: random operators, and dropouts that stay on."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            held[node.output[0]] = node.attribute[0].t
    found = []
    for node in _nodes(model.graph):
        switch = node.input[2] if node.op_type == "Dropout" and len(node.input) > 2 else ""
        on = switch in held and bool(onnx.numpy_helper.to_array(held[switch]).any())
        if not node.domain and (on or node.op_type in (*DRAWING, "Multinomial")):
            found.append(f"{node.op_type} ({node.name or node.output[0]})")
    return tuple(found)


def foreign_domains(model: onnx.ModelProto) -> list[str]:
    """Domains of operators that ONNX Runtime does not bring itself."""
    return sorted({node.domain for node in _nodes(model.graph)} - KNOWN_DOMAINS)


def parameters(model: onnx.ModelProto) -> tuple[int, int]:
    """(numbers that are written in the graph, their bytes)."""
    count, octets = 0, 0
    written = [
        a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute if a.HasField("t")
    ]
    for tensor in (*model.graph.initializer, *written):
        size = 1
        for extent in tensor.dims:
            size *= int(extent)
        count += size
        octets += len(tensor.raw_data) or size * _width(tensor)
    return count, octets


def _width(tensor: Any) -> int:
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError):
        return 4
