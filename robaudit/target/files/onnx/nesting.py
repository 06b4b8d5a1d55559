"""How deep a parsed ONNX model is nested, and how large it is with its functions written out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from robaudit.errors import UsageError

__all__ = ["check_nesting"]

MOST_NODES = 1_000_000
"""Nodes with every local function written out; the largest real graphs have some 100,000."""
DEEPEST = 32
"""Graphs inside graphs, and functions inside functions; protobuf's own limit ends near the same depth."""


def check_nesting(path: Path, model: onnx.ModelProto) -> None:
    """Refuse what is nested too deep, or grows without end when functions are written out.

    Args:
        path: of the file, for messages.
        model: parsed.

    Raises:
        UsageError: more than ``DEEPEST`` graphs or functions inside each other, or than ``MOST_NODES`` nodes.
    """
    functions = {_key(f.domain, f.name, f): f for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}
    calling: list[tuple[str, str, str]] = []

    def size(nodes: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise UsageError(f"{path} nests graphs or functions more than {DEEPEST} deep; refused")
        count = 0
        for node in nodes:
            key = _key(node.domain, node.op_type, node)
            count += called(key, depth) if key in functions else 1
            for graph in _graphs(node):
                count += size(graph.node, depth + 1)
            if count > MOST_NODES:
                raise UsageError(f"{path} has more than {MOST_NODES} nodes with its functions written out; refused")
        return count

    def called(key: tuple[str, str, str], depth: int) -> int:
        if key in calling:
            raise UsageError(f"{path} holds the function {key[1]!r}, which calls itself; refused")
        if key not in sizes:
            calling.append(key)
            sizes[key] = size(functions[key].node, depth + 1)
            calling.pop()
        return sizes[key]

    size(model.graph.node, 0)
    for key in functions:
        called(key, 0)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _key(domain: str, name: str, holder: Any) -> tuple[str, str, str]:
    return ("" if domain == "ai.onnx" else domain, name, getattr(holder, "overload", ""))
