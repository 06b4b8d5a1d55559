"""What the graph of a TorchScript module tells of it: operators, cut gradients, weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from robaudit.target.outputs.bounds import Interval, bounds, script_steps

__all__ = [
    "all_nodes",
    "attribute_names",
    "cutting_operators",
    "drawing_operators",
    "held_weights",
    "operator_kinds",
    "script_bounds",
]

CUTS = {"aten::detach": "detach", "aten::detach_": "detach", "prim::Enter": "no_grad"}
"""Operators of a graph through which PyTorch passes no gradient; those of quantised tensors are all of that kind."""
DRAWING = frozenset(
    (
        *("bernoulli", "normal", "multinomial", "poisson", "rand", "rand_like", "randint", "randint_like", "randn"),
        *("randn_like", "random", "randperm", "uniform", "exponential", "cauchy", "geometric", "log_normal", "rrelu"),
    )
)
"""Operators of PyTorch that draw random numbers, beside dropouts in training mode."""


def cutting_operators(module: Any) -> tuple[str, ...]:
    """Operators of a module that cut the gradient, by name; none where it has no graph of TorchScript."""
    graph = getattr(module, "inlined_graph", None)
    if graph is None:
        return ()
    kinds = set(operator_kinds(graph))
    quantised = {kind for kind in kinds if kind.startswith("quantized::")}
    return tuple(sorted({CUTS[kind] for kind in kinds & CUTS.keys()} | quantised))


def drawing_operators(module: Any) -> tuple[str, ...]:
    """Operators of a module that draw random numbers, by name; none where it has no graph of TorchScript.

    A dropout is one where it stays on.
    """
    graph = getattr(module, "inlined_graph", None)
    if graph is None:
        return ()
    found = set()
    for node in all_nodes(graph):
        name = node.kind().removeprefix("aten::").rstrip("_")
        dropped = "dropout" in name and bool(list(node.inputs())[-1].toIValue())
        if node.kind().startswith("aten::") and (name in DRAWING or dropped):
            found.add(name)
    return tuple(sorted(found))


def script_bounds(module: torch.jit.ScriptModule, place: int | None) -> Interval | None:
    """Lowest and highest number that an output can hold, where its last operators tell.

    Args:
        module: in evaluation mode.
        place: of the output in a tuple; None: the module returns one tensor.
    """
    try:
        value = next(iter(module.inlined_graph.outputs()))
        if place is not None:
            if value.node().kind() != "prim::TupleConstruct":
                return None
            value = list(value.node().inputs())[place]
        return bounds(script_steps(value))
    except Exception:  # odd graphs break these internals in many ways
        return None


def operator_kinds(block: Any) -> Iterator[str]:
    """Operators of a graph or block, those of the blocks and graphs inside its nodes included."""
    return (node.kind() for node in all_nodes(block))


def all_nodes(block: Any) -> Iterator[Any]:
    """Nodes of a graph or block, those of the blocks and graphs inside its nodes included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from all_nodes(inner)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":
                yield from all_nodes(node.g(name))
            elif node.kindOf(name) == "gs":
                for graph in node.gs(name):
                    yield from all_nodes(graph)


def attribute_names(module: Any) -> set[str]:
    """Attributes that the code of a TorchScript module and its parts reads or writes."""
    found: set[str] = set()

    def look(block: Any) -> None:
        for node in block.nodes():
            if node.kind() in ("prim::GetAttr", "prim::SetAttr"):
                found.add(node.s("name"))
            for inner in node.blocks():
                look(inner)

    for part in module.modules():
        script: Any = getattr(part, "_c", None)
        for name in script._method_names() if script is not None else ():
            look(script._get_method(name).graph)
    return found


def held_weights(module: torch.jit.ScriptModule) -> list[Tensor]:
    """Parameters, buffers, and what freezing has made of them: constants of the graph; in the module's order."""
    held = [*module.parameters(), *module.buffers()]
    if not held:
        constants = [node for node in module.inlined_graph.nodes() if node.kind() == "prim::Constant"]
        values = (node.output().toIValue() for node in constants if node.output().type().kind() == "TensorType")
        held = [value for value in values if isinstance(value, Tensor) and value.dim() > 0]  # not lone factors
    return held
