"""The layers of a graph whose weights are taken out of it: they become inputs, so that they can be set at each run.

What a handler computes of a weight (its transpose, a factor) is then recorded, and the gradient reaches the weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.trainable.roles import PRODUCTS, Role, first_values, role_of
from robaudit.target.running.trainable import Untrainable, Weight

__all__ = ["Layer", "Norm", "Opened", "in_training", "opened"]


@dataclass(frozen=True)
class Layer:
    """One that multiplies by weights.

    Args:
        value: what it makes.
        weights: matrices, of the state.
    """

    value: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Norm:
    """One that takes statistics off.

    Args:
        value: that it reads.
        mean: its mean, in the state; ``variance`` likewise.
    """

    value: str
    mean: str
    variance: str


@dataclass(frozen=True)
class Opened:
    """A graph whose weights are inputs.

    Args:
        graph: with them.
        main: its own inputs.
        weights: in the order of the graph.
        sizes: of each statistic.
        layers: in the order of the graph.
        depth: most layers with weights on a way through the graph.
    """

    graph: Graph
    main: tuple[str, ...]
    weights: tuple[Weight, ...]
    sizes: dict[str, int]
    layers: tuple[Layer | Norm, ...]
    depth: int


def opened(graph: Graph) -> Opened:
    """The graph with its weights as inputs.

    Raises:
        Untrainable: it has no layer with weights.
    """
    work = _Work(graph)
    for node in graph.nodes:
        work.open(node)
    if not any(isinstance(layer, Layer) for layer in work.layers):
        raise Untrainable("it holds no weights that can be trained")
    kept = graph.with_nodes(tuple(work.nodes), graph.constants)
    added = [*(weight.name for weight in work.weights), *work.sizes]
    shapes = {weight.name: weight.shape for weight in work.weights} | {n: (s,) for n, s in work.sizes.items()}
    whole = dataclasses.replace(
        kept,
        inputs=(*graph.inputs, *added),
        input_types={**graph.input_types, **dict.fromkeys(added, torch.float32)},
        input_shapes={**graph.input_shapes, **shapes},
    )
    return Opened(whole, graph.inputs, tuple(work.weights), work.sizes, tuple(work.layers), max(work.depths.values()))


class _Work:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.weights: list[Weight] = []
        self.sizes: dict[str, int] = {}
        self.layers: list[Layer | Norm] = []
        self.nodes: list[Node] = []
        self.depths: dict[str, int] = {}
        self._tied: dict[tuple[str, Role], str] = {}
        self._taken = {*graph.constants, *graph.inputs, *(name for node in graph.nodes for name in node.outputs)}

    def open(self, node: Node) -> None:
        inputs, matrices = list(node.inputs), []
        for position, name in enumerate(node.inputs):
            value = self.graph.constants.get(name)
            role = None if value is None else role_of(node, position, value, self.depths)
            if value is None or role is None:
                continue
            inputs[position] = self._weight(name, role, node, position)
            if role == "matrix":
                matrices.append(inputs[position])
        norm = self._statistics(node, inputs)
        if matrices and (node.domain, node.op) in PRODUCTS:
            self.layers.append(Layer(node.outputs[0], tuple(matrices)))
        if norm is not None:
            self.layers.append(norm)
        before = [self.depths[name] for name in node.inputs if name in self.depths]
        if before or inputs != list(node.inputs):
            depth = max(before, default=0) + bool(matrices)
            self.depths.update((name, depth) for name in node.outputs if name)
        self.nodes.append(dataclasses.replace(node, inputs=tuple(inputs)))

    def _weight(self, name: str, role: Role, node: Node, position: int) -> str:
        """The name of the weight; matrices that layers share stay shared, while equal vectors were joined to save
        room."""
        if role in ("matrix", "token") and (name, role) in self._tied:
            return self._tied[name, role]
        new = self._named(name)
        self.weights.append(first_values(new, role, node, position, tuple(self.graph.constants[name].shape)))
        self._tied[name, role] = new
        return new

    def _statistics(self, node: Node, inputs: list[str]) -> Norm | None:
        """Of a batch norm in its form for inference."""
        if node.op != "BatchNormalization" or node.domain or len(inputs) < 5 or _in_training(node):
            return None
        held = [self.graph.constants.get(name) for name in inputs[3:5]]
        if any(value is None or value.dim() != 1 for value in held):
            return None
        for place, value in zip((3, 4), held, strict=True):
            inputs[place] = self._named(inputs[place])
            self.sizes[inputs[place]] = 0 if value is None else value.numel()
        return Norm(inputs[0], inputs[3], inputs[4])

    def _named(self, name: str) -> str:
        """A name in the state that nothing else has."""
        new = f"{name}*"
        while new in self._taken:
            new += "*"
        self._taken.add(new)
        return new


def _in_training(node: Node) -> bool:
    training = bool(node.integer("training_mode", 0)) if node.version >= 14 else False
    return training or (node.version < 7 and not node.integer("is_test", 0))


def in_training(graph: Graph, norms: Iterable[Norm]) -> Graph:
    """The graph with these norms looking at the batch; their new statistics are outputs as well."""
    wanted = {norm.mean: norm for norm in norms}
    nodes: list[Node] = []
    more: list[str] = []
    for node in graph.nodes:
        norm = wanted.get(node.inputs[3]) if node.op == "BatchNormalization" and len(node.inputs) > 4 else None
        if norm is None:
            nodes.append(node)
            continue
        found = (f"{norm.mean}seen", f"{norm.variance}seen")
        attributes = {**node.attributes, "training_mode": 1, "momentum": 0.0}
        outputs = (node.outputs[0], *found)
        nodes.append(dataclasses.replace(node, version=15, outputs=outputs, attributes=attributes))
        more.extend(found)
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=(*graph.outputs, *more))
