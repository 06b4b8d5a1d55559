"""From a model's protobuf to the graph that is trained: in float32, without quantisers, nothing merged but biases."""

from __future__ import annotations

import onnx
import torch

from robaudit.target.onnx import passes, straight_through
from robaudit.target.onnx.control_flow import without_known_branches
from robaudit.target.onnx.graph import ML, Graph
from robaudit.target.onnx.nchwc import to_plain
from robaudit.target.onnx.passes.linear import absorb_bias, to_linear
from robaudit.target.onnx.passes.workspace import apply
from robaudit.target.onnx.reading import read
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.trainable.dequantised import dequantised
from robaudit.target.running.trainable import Untrainable

__all__ = ["untrained"]

WHOLE = ("Integer", "QLinear", "Quantize", "QGemm", "QAttention", "QEmbed", "NBits", "Bnb4", "Quantized")
"""Parts of the names of operators that compute on whole numbers."""


def untrained(model: onnx.ModelProto, output: str) -> Graph:
    """The graph up to one value, with its quantisers left out.

    Args:
        model: with its external data loaded.
        output: name of the value.

    Raises:
        Untrainable: it has an operator that cannot be trained through.
        UnsupportedOperatorError: it has a constant or branch that has no translation.
    """
    graph = passes.fold_constants(to_plain(read(model, output)))
    while (reduced := without_known_branches(graph)) is not None:
        graph = passes.fold_constants(reduced)
    graph = passes.fold_constants(dequantised(graph))
    for node in graph.nodes:
        if node.graphs:
            raise Untrainable(f"its data choose or repeat its operators ({node.op})")
        if node.domain == ML:
            raise Untrainable(f"{node.op} keeps what it has learned in a table, or is no layer of a network")
        if any(part in node.op for part in WHOLE):
            raise Untrainable(f"{node.op} computes on whole numbers")
        if find(node.domain, node.op) is None:
            raise Untrainable(f"operator {node.qualified} has no torch counterpart yet")
    graph = passes.retyped(graph, torch.float32, widen_only=False)
    for rewrite in (to_linear, absorb_bias):
        graph = apply(graph, rewrite)
    return straight_through.resolved(graph)
