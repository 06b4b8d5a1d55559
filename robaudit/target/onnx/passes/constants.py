"""What depends on constants alone is computed at import."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.tracing import run_node


def fold_constants(graph: Graph) -> Graph:
    """Run the nodes that depend on constants alone, those of nested graphs included."""
    constants = dict(graph.constants)
    return graph.with_nodes(_folded(graph.nodes, constants), constants)


def _folded(nodes: tuple[Node, ...], constants: dict[str, Tensor]) -> tuple[Node, ...]:
    """The nodes that remain; adds to the constants."""
    kept: list[Node] = []
    for node in nodes:
        known = all(name in constants for name in node.inputs if name)
        if known and node.inputs and not node.graphs and find(node.domain, node.op) is not None:
            with torch.no_grad():
                results = run_node(node, [constants[name] if name else None for name in node.inputs])
            if all(isinstance(value, Tensor) for value in results):
                constants.update((name, value) for name, value in zip(node.outputs, results, strict=False) if name)
                continue
        if node.graphs:
            inner = {name: replace(g, nodes=_folded(g.nodes, constants)) for name, g in node.graphs.items()}
            node = node.with_graphs(inner)
        kept.append(node)
    return tuple(kept)
