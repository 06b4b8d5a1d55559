"""Rewriting a graph once, at import: what is constant is computed, what can be merged is merged.

These rewrites change weights; formulas are recognised in the recorded program (``fused``), where shapes are known.
"""

from __future__ import annotations

from robaudit.target.onnx.graph import Graph
from robaudit.target.onnx.passes.affine import absorb_batch_norm, absorb_factor, absorb_shift
from robaudit.target.onnx.passes.batch_norm import fold_batch_norm
from robaudit.target.onnx.passes.constants import fold_constants
from robaudit.target.onnx.passes.integers import use_integers
from robaudit.target.onnx.passes.linear import absorb_bias, to_linear
from robaudit.target.onnx.passes.padding import absorb_pad
from robaudit.target.onnx.passes.precision import retyped
from robaudit.target.onnx.passes.workspace import apply

__all__ = ["fold_constants", "prepare", "retyped", "use_integers"]


_REWRITES = (to_linear, absorb_bias, fold_batch_norm, absorb_batch_norm, absorb_pad, absorb_factor, absorb_shift)


def prepare(graph: Graph) -> Graph:
    """All rewrites, in the order in which they help one another."""
    graph = fold_constants(graph)
    for rewrite in _REWRITES:
        graph = apply(graph, rewrite)
    return graph
