"""Quantisers that find their input quantised already, by the same scale and zero point.

Tools that quantise put a pair of quantisers round every operator, also round those that only move values. What was
dequantised and moved is quantised to the very numbers that it came from, within a range that it cannot leave, so that
neither value nor gradient changes: the numbers themselves are moved.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.passes.workspace import Workspace, is_default

_MOVES = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Expand", "Tile"),
    *("Gather", "DepthToSpace", "SpaceToDepth"),
)
_BYTES = (torch.uint8, torch.int8)
_TINY, _HUGE = 1e-30, 1e30
"""Scales beyond these may not give their numbers back."""

_Key = tuple[float, int, torch.dtype]


def drop_repeated(graph: Graph) -> Graph:
    """Moves between equal quantisers of 8 bits act on what is quantised; the second quantiser goes."""
    return _Dropper(graph).run()


class _Dropper:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._work = Workspace(graph)
        self._nodes: list[Node] = []
        self._moved: dict[tuple[str, _Key], str] = {}

    def run(self) -> Graph:
        for node in self._graph.nodes:
            key = self._key(node) if is_default(node, "QuantizeLinear") else None
            whole = None if key is None else self._whole(node.inputs[0], key)
            if whole is not None:
                node = Node("Identity", "", node.version, node.name, (whole,), node.outputs)
            self._nodes.append(node)
            self._work.producer.update((name, node) for name in node.outputs if name)
        return self._graph.with_nodes(tuple(self._nodes), self._work.constants)

    def _key(self, node: Node) -> _Key | None:
        """Scale, zero point and type of a quantiser, or of its reverse, that has one of each for all values."""
        scale, zero = self._work.constant(node, 1), self._work.constant(node, 2)
        if scale is None or zero is None or scale.numel() != 1 or zero.numel() != 1:
            return None
        plain = not any(node.integer(name, 0) for name in ("block_size", "precision"))
        if not plain or scale.dtype != torch.float32 or zero.dtype not in _BYTES:
            return None
        factor = float(scale)
        return (factor, int(zero), zero.dtype) if _TINY < factor < _HUGE else None

    def _whole(self, name: str, key: _Key) -> str | None:
        """The name of the quantised values that this one stands for; moves of them are added as needed."""
        chain: list[tuple[Node, str]] = []
        while (name, key) not in self._moved:
            node = self._work.producer.get(name)
            if node is None or not is_default(node, *_MOVES):
                break
            chain.append((node, name))
            name = node.inputs[0]
        whole = self._moved.get((name, key)) or self._source(name, key)
        if whole is None:
            return None
        for node, output in reversed(chain):
            made = tuple(f"{old}.whole.{len(self._moved)}" if old else "" for old in node.outputs)
            self._nodes.append(replace(node, inputs=(whole, *node.inputs[1:]), outputs=made))
            self._moved.update(((old, key), new) for old, new in zip(node.outputs, made, strict=True) if old)
            whole = self._moved[output, key]
        return whole

    def _source(self, name: str, key: _Key) -> str | None:
        """What is dequantised, by this scale and zero point, into a value."""
        node = self._work.producer.get(name)
        fits = node is not None and is_default(node, "DequantizeLinear") and self._key(node) == key
        return node.inputs[0] if node is not None and fits else None
