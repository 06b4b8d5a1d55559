"""Values through which everything passes on its way from input to output: where a graph can be cut in two."""

from __future__ import annotations

from dataclasses import replace

import torch

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.straight_through import label_of

__all__ = ["after", "between", "stations", "up_to"]

_SHAPES = frozenset({"Shape", "Size"})


def stations(graph: Graph, start: str, end: str) -> list[str]:
    """Values on every path from ``start`` to ``end``, in order, the first itself and not the last."""
    last: dict[str, int] = {end: len(graph.nodes)}
    for place, node in enumerate(graph.nodes):
        if node.op not in _SHAPES:
            last.update(dict.fromkeys(node.inputs, place))
    last[end] = len(graph.nodes)
    live, found = {start}, [start]
    for place, node in enumerate(graph.nodes):
        if node.op not in _SHAPES and live.intersection(node.inputs):
            live.update(name for name in node.outputs if last.get(name, -1) > place)
        live = {name for name in live if last.get(name, -1) > place}
        if len(live) == 1:
            [name] = live
            if name != end and name != found[-1]:
                found.append(name)
    return found


def up_to(graph: Graph, names: list[str]) -> Graph:
    """The graph that returns these values."""
    types = {name: kind for name, kind in graph.output_types.items() if name in names}
    return replace(graph, outputs=tuple(names), output_types=types).with_nodes(graph.nodes, graph.constants)


def after(graph: Graph, name: str, dtype: torch.dtype) -> Graph:
    """The part of the graph that makes its outputs of one of its values, which is its input."""
    made = {output for node in graph.nodes[: _place(graph, name) + 1] for output in node.outputs}
    nodes = tuple(node for node in graph.nodes if not made.issuperset(node.outputs))
    whole = replace(graph, inputs=(name,), input_types={name: dtype}, input_shapes={})
    return whole.with_nodes(nodes, graph.constants)


def between(graph: Graph, first: str, second: str | None) -> list[str]:
    """``Op (node)`` of everything that is computed after one station and up to the next; None: up to the end."""
    begin = _place(graph, first) + 1
    stop = len(graph.nodes) if second is None else _place(graph, second) + 1
    return [f"{label_of(node)} ({node.name})" for node in graph.nodes[begin:stop] if _tells(node)]


def _place(graph: Graph, name: str) -> int:
    """The place of the node that makes a value; -1 for an input."""
    return next((place for place, node in enumerate(graph.nodes) if name in node.outputs), -1)


def _tells(node: Node) -> bool:
    return node.op not in (*_SHAPES, "Constant", "Identity")
