"""Rewriting a graph once, at import: what is constant is computed, what can be merged is merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from robaudit.target.onnx import fusion
from robaudit.target.onnx.arguments import axes_of, ints
from robaudit.target.onnx.graph import DTYPES, Graph, Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.tracing import run_node

# Attributes that name an element type to compute or answer in.
_TYPES = {
    "Cast": "to",
    "CastLike": "to",
    "EyeLike": "dtype",
    "DequantizeLinear": "output_dtype",
    "QuantizeLinear": "precision",
}


def prepare(graph: Graph) -> Graph:
    """All rewrites, in the order in which they help one another."""
    graph = fold_constants(graph)
    for rewrite in (_to_linear, _absorb_bias, _fold_batch_norm, _absorb_pad, _recognise_gelu):
        graph = _apply(graph, rewrite)
    return graph


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


class _Workspace:
    """What a rewrite may look at and change."""

    def __init__(self, graph: Graph) -> None:
        self.constants = dict(graph.constants)
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(graph.outputs)
        self.producer: dict[str, Node] = {}
        self.replaced: set[str] = set()

    def constant(self, node: Node, position: int) -> Tensor | None:
        """A constant input, if it is there and constant."""
        return self.constants.get(node.inputs[position]) if position < len(node.inputs) else None

    def sole_producer(self, name: str) -> Node | None:
        """Who makes a value that nobody else reads."""
        return self.producer.get(name) if self.uses[name] == 1 else None

    def add(self, name: str, value: Tensor) -> str:
        """Store a constant under a new name."""
        while name in self.constants:
            name += "_"
        self.constants[name] = value.contiguous()
        return name


Rewrite = Callable[[_Workspace, Node], Node | None]


def _apply(graph: Graph, rewrite: Rewrite) -> Graph:
    """Offer every node; a rewritten node may swallow its producer, whose output then has no reader left."""
    work = _Workspace(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        changed = rewrite(work, node) or node
        nodes.append(changed)
        work.producer.update((name, changed) for name in changed.outputs if name)
    return graph.with_nodes(tuple(nodes), work.constants)


def _is_default(node: Node, *ops: str) -> bool:
    return node.op in ops and not node.domain


def _to_linear(work: _Workspace, node: Node) -> Node | None:
    """MatMul and Gemm with a constant matrix are torch's linear, its factors multiplied in once."""
    if not _is_default(node, "MatMul", "Gemm"):
        return None
    weight = work.constant(node, 1)
    if weight is None or weight.dim() != 2 or not weight.is_floating_point() or node.integer("transA", 0):
        return None
    if not node.integer("transB", 0):
        weight = weight.t()
    inputs = [node.inputs[0], ""]
    bias = work.constant(node, 2)
    if len(node.inputs) > 2 and node.inputs[2]:
        if bias is None or bias.numel() not in (1, weight.shape[0]) or bias.shape[-1:] != (bias.numel(),):
            return None
        if bias.dim() > 1 and bias.shape[0] != 1:
            return None
        bias = (bias * node.number("beta", 1.0)).to(bias.dtype).reshape(-1).expand(weight.shape[0])
        inputs.append(work.add(f"{node.name}.bias", bias))
    inputs[1] = work.add(f"{node.name}.weight", (weight * node.number("alpha", 1.0)).to(weight.dtype))
    return replace(node, op="Linear", domain=INTERNAL, inputs=tuple(inputs), attributes={})


def _absorb_bias(work: _Workspace, node: Node) -> Node | None:
    """A vector added after a linear (exporters write MatMul, Add) is its bias."""
    if not _is_default(node, "Add"):
        return None
    for position in (0, 1):
        bias = work.constant(node, position)
        linear = work.sole_producer(node.inputs[1 - position])
        if bias is None or linear is None or (linear.op, linear.domain) != ("Linear", INTERNAL):
            continue
        weight = work.constants[linear.inputs[1]]
        if len(linear.inputs) == 2 and bias.shape == weight.shape[:1] and bias.dtype == weight.dtype:
            return replace(linear, inputs=(*linear.inputs, node.inputs[position]), outputs=node.outputs)
    return None


def _fold_batch_norm(work: _Workspace, node: Node) -> Node | None:
    """A batch norm after a convolution or linear scales its weights. Computed in float64."""
    if not _is_default(node, "BatchNormalization") or node.integer("training_mode", 0) or node.version < 9:
        return None
    before = work.sole_producer(node.inputs[0])
    stats = [work.constant(node, i) for i in range(1, 5)]
    if before is None or any(s is None for s in stats):
        return None
    if not (_is_default(before, "Conv") or (before.op, before.domain) == ("Linear", INTERNAL)):
        return None
    weight = work.constant(before, 1)
    biased = len(before.inputs) > 2 and bool(before.inputs[2])
    if weight is None or (biased and work.constant(before, 2) is None):
        return None
    scale, bias, mean, var = (s.double() for s in stats if s is not None)
    factor = scale / torch.sqrt(var + node.number("epsilon", 1e-5))
    old = work.constants[before.inputs[2]].double() if biased else torch.zeros_like(mean)
    scaled = weight.double() * factor.reshape([-1] + [1] * (weight.dim() - 1))
    return replace(
        before,
        inputs=(
            before.inputs[0],
            work.add(f"{before.name}.folded_weight", scaled.to(weight.dtype)),
            work.add(f"{before.name}.folded_bias", ((old - mean) * factor + bias).to(weight.dtype)),
        ),
        outputs=node.outputs[:1],
    )


def _absorb_pad(work: _Workspace, node: Node) -> Node | None:
    """Zeros padded around an image by a node of their own are the convolution's padding."""
    if not _is_default(node, "Conv") or node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    pad = work.sole_producer(node.inputs[0])
    weight = work.constant(node, 1)
    if pad is None or weight is None or not _is_default(pad, "Pad") or pad.text("mode", "constant") != "constant":
        return None
    rank = weight.dim()
    amounts = _pad_amounts(work, pad, rank)
    if amounts is None or min(amounts) < 0 or any(amounts[:2]) or any(amounts[rank : rank + 2]):
        return None
    own = node.integers("pads") or [0] * (2 * (rank - 2))
    added = amounts[2:rank] + amounts[rank + 2 :]
    attributes = {**node.attributes, "pads": [a + b for a, b in zip(own, added, strict=True)]}
    return replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)


def _recognise_gelu(work: _Workspace, node: Node) -> Node | None:
    if not _is_default(node, "Mul"):
        return None
    x = fusion.gelu_input(fusion.Producers(work.producer, work.uses, work.constants), node)
    return None if x is None else fusion.gelu(node, x)


def _pad_amounts(work: _Workspace, pad: Node, rank: int) -> list[int] | None:
    """The pads of a Pad node that fills with zero, for every axis; None when they are not all known."""
    if pad.version < 11:
        amounts, fill = pad.integers("pads"), pad.number("value", 0.0)
        return amounts if fill == 0.0 and amounts is not None and len(amounts) == 2 * rank else None
    given = [name for name in pad.inputs[1:] if name]
    if any(name not in work.constants for name in given):
        return None
    value = work.constant(pad, 2)
    if value is not None and value.numel() and value.item() != 0:
        return None
    short = ints(work.constants[pad.inputs[1]])
    axes = axes_of(pad, work.constant(pad, 3)) or list(range(len(short) // 2))
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[axis % rank] = short[i]
        full[axis % rank + rank] = short[i + len(axes)]
    return full
