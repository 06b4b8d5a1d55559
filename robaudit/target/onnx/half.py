"""Where ONNX Runtime's CPU rounds to half precision in a float16 file.

Most of its CPU kernels know no float16: it runs them in float32, and numbers become float16 between them only where an
operator follows that does know it (what moves values, and a few others) or the file's own output. A twin in float32
without these roundings is off by half a step of float16, which is far more than the runtime's own noise. The gradient
passes them unchanged.

Source: type constraints of the kernels of ONNX Runtime 1.31 and its conversion pass, checked against the graphs that
it saves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.registry import operator
from robaudit.target.onnx.straight_through import STRAIGHT, through

ROUND = "RoundToHalf"
# Kernels for float16, by the first opset that has one. They give their inputs' numbers, or some of them.
_MOVES = {
    **dict.fromkeys(("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape"), 1),
    **dict.fromkeys(("ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Slice", "Split", "Squeeze"), 1),
    **dict.fromkeys(("Transpose", "Unsqueeze", "Compress", "TensorScatter"), 1),
    **dict.fromkeys(("Clip", "Max", "Min"), 12),
}
# Or compute.
_COMPUTES = {
    ("", "Attention"): 23,
    ("", "LayerNormalization"): 1,
    ("", "RMSNormalization"): 23,
    ("", "RotaryEmbedding"): 23,
    ("", "SimplifiedLayerNormalization"): 1,
    ("com.microsoft", "GroupQueryAttention"): 1,
    ("com.microsoft", "MatMulNBits"): 1,
    ("com.microsoft", "RotaryEmbedding"): 1,
    ("com.microsoft", "SkipLayerNormalization"): 1,
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): 1,
}
# The input that has the type of the results, where that is not the first.
_TYPED_BY = {"Where": 1, "CastLike": 1, "DequantizeLinear": 1, "OneHot": 2}
_UNTYPED = frozenset(
    (
        *("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "IsNaN", "IsInf", "QuantizeLinear", "DynamicQuantizeLinear"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    )
)


@operator(ROUND, domain=INTERNAL)
def _round(node: Node, x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return x  # already so; or float64, where only what rounding does not cause is to be seen
    return through(x.detach().to(torch.float16).to(x.dtype), x, STRAIGHT)


def marked(graph: Graph, answers: Collection[str]) -> Graph:
    """The graph with its roundings to float16 as operators of their own; any other graph as it is.

    Nested graphs are left alone.

    Args:
        graph: as the file has it, up to values that may lie inside.
        answers: the outputs of the file.
    """
    halves = _halves(graph)
    made = {name for node in graph.nodes for name in node.outputs}
    if not halves & made:
        return graph
    native = _native(graph, halves, made)
    # The numbers of these are held in float32: a conversion that the file asks for is put off as well.
    wide = {n for node in graph.nodes if id(node) not in native or node.op == "Cast" for n in node.outputs} & halves
    given = halves.intersection(graph.inputs)
    converted = {name for node in graph.nodes if node.op == "Cast" for name in node.outputs}
    rounded: dict[str, str] = {}
    nodes: list[Node] = []

    def round_(name: str) -> str:
        if name not in rounded:
            rounded[name] = f"{name} rounded to half"
            nodes.append(Node(ROUND, INTERNAL, 1, rounded[name], (name,), (rounded[name],)))
        return rounded[name]

    for node in graph.nodes:
        if node.graphs:
            nodes.append(node)
            continue
        runs_in_half = id(node) in native
        here = given
        if runs_in_half:
            here = given | (wide & converted if node.op == "Cast" else wide)
        node = replace(node, inputs=tuple(round_(name) if name in here else name for name in node.inputs))
        computes = runs_in_half and (node.domain, node.op) in _COMPUTES
        finer = {n for n in node.outputs if n in halves and (computes or (n in wide and n in answers))}
        if finer:
            inner = {name: f"{name} before rounding" for name in finer}
            node = replace(node, outputs=tuple(inner.get(name, name) for name in node.outputs))
            nodes.append(node)
            nodes.extend(Node(ROUND, INTERNAL, 1, new, (new,), (old,)) for old, new in inner.items())
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _halves(graph: Graph) -> set[str]:
    """The values of type float16."""
    found = {name for name, value in graph.constants.items() if value.dtype == torch.float16}
    found.update(name for name, dtype in graph.input_types.items() if dtype == torch.float16)
    for node in graph.nodes:
        if node.graphs or (node.op in _UNTYPED and not node.domain):
            continue
        if node.op == "Cast":
            half = DTYPES.get(node.integer("to", 0)) == torch.float16
        elif node.op == "ConstantOfShape":
            value = node.attributes.get("value")
            half = isinstance(value, Tensor) and value.dtype == torch.float16
        else:
            position = 0 if node.domain else _TYPED_BY.get(node.op, 0)
            half = len(node.inputs) > position and node.inputs[position] in found
        if half:
            found.update(node.outputs[:1] if node.op in ("TopK", "MaxPool") else node.outputs)
    found.discard("")
    return found


def _native(graph: Graph, halves: set[str], made: set[str]) -> set[int]:
    """The nodes (by identity) that run in float16: those with a kernel for it, unless they stand alone.

    One between operators that all run in float32 is run in float32 as well.
    """
    native = {id(node) for node in graph.nodes if has_half_kernel(node)}
    producer = {name: node for node in graph.nodes for name in node.outputs}
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
    for node in graph.nodes:
        if id(node) not in native or node.op == "Cast" or set(node.outputs) & set(graph.outputs):
            continue
        before = [producer[name] for name in node.inputs if name in halves & made]
        after = [reader for name in node.outputs if name in halves for reader in readers[name]]
        if before and not any(id(neighbour) in native for neighbour in before + after):
            native.discard(id(node))
    return native


def has_half_kernel(node: Node) -> bool:
    """Whether ONNX Runtime has a CPU kernel of this operator for float16."""
    if node.op == "Cast" and not node.domain:
        return True
    first = _COMPUTES.get((node.domain, node.op), None if node.domain else _MOVES.get(node.op))
    return first is not None and node.version >= first
