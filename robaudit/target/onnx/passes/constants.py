"""What depends on constants alone is computed at import."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.half import has_half_kernel
from robaudit.target.onnx.registry import Value, find
from robaudit.target.onnx.tracing import run_node


def fold_constants(graph: Graph) -> Graph:
    """Run the nodes that depend on constants alone, those of nested graphs included."""
    constants = dict(graph.constants)
    return graph.with_nodes(_folded(graph.nodes, constants, {}), constants)


def _folded(nodes: tuple[Node, ...], constants: dict[str, Tensor], finer: dict[str, Tensor]) -> tuple[Node, ...]:
    """The nodes that remain; adds to the constants, and to ``finer`` those of half precision before their rounding."""
    kept: list[Node] = []
    for node in nodes:
        known = all(name in constants for name in node.inputs if name)
        if known and node.inputs and not node.graphs and find(node.domain, node.op) is not None:
            with torch.no_grad():
                results = _run(node, constants, finer)
            if all(isinstance(value, Tensor) for value in results):
                constants.update((name, value) for name, value in zip(node.outputs, results, strict=False) if name)
                continue
        if node.graphs:
            inner = {name: replace(g, nodes=_folded(g.nodes, constants, finer)) for name, g in node.graphs.items()}
            node = node.with_graphs(inner)
        kept.append(node)
    return tuple(kept)


def _run(node: Node, constants: dict[str, Tensor], finer: dict[str, Tensor]) -> tuple[Value, ...]:
    """The results of a node on constants.

    As ONNX Runtime does on CPUs, half precision is computed in single, and rounded where an operator for half
    precision follows.
    """
    values: list[Value] = [constants[name] if name else None for name in node.inputs]
    if not any(isinstance(value, Tensor) and value.dtype == torch.float16 for value in values) or node.op == "Cast":
        return run_node(node, values)
    if has_half_kernel(node):
        return run_node(node, values)
    wide: list[Value] = [finer.get(name, constants[name]) if name else None for name in node.inputs]
    wide = [v.float() if isinstance(v, Tensor) and v.dtype == torch.float16 else v for v in wide]
    results = run_node(node, wide)
    for name, value in zip(node.outputs, results, strict=False):
        if isinstance(value, Tensor) and value.dtype == torch.float32:
            finer[name] = value
    return tuple(v.half() if isinstance(v, Tensor) and v.dtype == torch.float32 else v for v in results)
