"""How rewrites of an ONNX graph look at it and change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from torch import Tensor

from robaudit.target.onnx.graph import Graph, Node


class Workspace:
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


Rewrite = Callable[[Workspace, Node], Node | None]


def apply(graph: Graph, rewrite: Rewrite) -> Graph:
    """Offer every node; a rewritten node may swallow its producer, whose output then has no reader left."""
    work = Workspace(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        changed = rewrite(work, node) or node
        nodes.append(changed)
        work.producer.update((name, changed) for name in changed.outputs if name)
    return graph.with_nodes(tuple(nodes), work.constants)


def is_default(node: Node, *ops: str) -> bool:
    """Whether the node is one of these operators of the default domain."""
    return node.op in ops and not node.domain
