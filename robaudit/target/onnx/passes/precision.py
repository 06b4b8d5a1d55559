"""Bringing a graph to one floating-point type."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Graph, Node

# Attributes that name an element type to compute or answer in.
_TYPES = {
    "Cast": "to",
    "CastLike": "to",
    "EyeLike": "dtype",
    "DequantizeLinear": "output_dtype",
    "QuantizeLinear": "precision",
}


def retyped(graph: Graph, dtype: torch.dtype, *, widen_only: bool = True) -> Graph:
    """The graph with its floating-point types (constants, conversions) brought to one type."""

    def new(old: torch.dtype) -> torch.dtype:
        narrow = old.is_floating_point and (not widen_only or old.itemsize < dtype.itemsize)
        return dtype if narrow else old

    codes = {value: key for key, value in DTYPES.items() if value.is_floating_point}

    def node_of(node: Node) -> Node:
        attributes = {
            name: value.to(new(value.dtype)) if isinstance(value, Tensor) else value
            for name, value in node.attributes.items()
        }
        attributes |= {name: retyped(inner, dtype, widen_only=widen_only) for name, inner in node.graphs.items()}
        key = _TYPES.get(node.op)
        if key is not None and node.integer(key, 0) in codes.values():
            attributes[key] = codes[new(DTYPES[node.integer(key, 0)])]
        return replace(node, attributes=attributes)

    return replace(
        graph,
        nodes=tuple(node_of(node) for node in graph.nodes),
        constants={name: value.to(new(value.dtype)) for name, value in graph.constants.items()},
        input_types={name: new(value) for name, value in graph.input_types.items()},
        output_types={name: new(value) for name, value in graph.output_types.items()},
    )
