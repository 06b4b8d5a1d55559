"""From programs recorded at a few batch sizes to one that serves every batch size."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from robaudit.target.onnx.tracing import Trace

# Far apart and coprime: an integer that depends on the batch in any other way than k * batch + c (a
# division, a minimum) fits a line through the first two only by accident, and then misses the third.
BATCH_SIZES = (7, 29, 64)


class NotGeneralError(Exception):
    """The program depends on the batch size in a way that no single program covers."""


def generalise(traces: Sequence[Trace]) -> Trace:
    """Merge the traces made at ``BATCH_SIZES``: sizes that grow with the batch become arithmetic on it."""
    first = traces[0]
    columns = [list(t.graph.nodes) for t in traces]
    if len({len(column) for column in columns}) != 1:
        raise NotGeneralError("the programs differ in length")
    merger = _Merger(traces)
    for row in zip(*columns, strict=True):
        merger.add(row)
    merger.graph.eliminate_dead_code()
    return Trace(merger.graph, dict(first.constants), dict(first.modules), first.outputs)


class _Merger:
    def __init__(self, traces: Sequence[Trace]) -> None:
        self.graph = fx.Graph()
        self._traces = traces
        self._new: dict[fx.Node, fx.Node] = {}
        self._batch: fx.Node | None = None
        self._sizes: dict[tuple[int, int], fx.Node] = {}

    def add(self, row: tuple[fx.Node, ...]) -> None:
        first = row[0]
        if len({node.op for node in row}) != 1:
            raise NotGeneralError("the programs differ")
        if first.op == "get_attr":
            self._same_constant([str(node.target) for node in row])
        elif any(node.target != first.target for node in row):
            raise NotGeneralError("the programs differ")
        args = self._merge([node.args for node in row])
        kwargs = self._merge([dict(node.kwargs) for node in row])
        made = self.graph.create_node(first.op, first.target, args, kwargs, name=first.name)
        self._new[first] = made
        if first.op == "placeholder" and self._batch is None:
            self._batch = made

    def _same_constant(self, names: list[str]) -> None:
        if names[0] in self._traces[0].modules:
            programs = [trace.modules.get(name) for trace, name in zip(self._traces, names, strict=True)]
            if len({program.code if program else "" for program in programs}) != 1:
                raise NotGeneralError("a branch or loop depends on the batch size")
            return
        values = [trace.constants[name] for trace, name in zip(self._traces, names, strict=True)]
        for other in values[1:]:
            if other is values[0]:
                continue
            if other.dtype != values[0].dtype or not torch.equal(other, values[0]):
                raise NotGeneralError("a constant depends on the batch size")

    def _merge(self, values: list[Any]) -> Any:
        first = values[0]
        if any(type(value) is not type(first) for value in values):
            raise NotGeneralError("arguments differ in kind")
        if isinstance(first, fx.Node):
            return self._new[first]
        if isinstance(first, (tuple, list)):
            if len({len(value) for value in values}) != 1:
                raise NotGeneralError("arguments differ in length")
            merged = [self._merge(list(items)) for items in zip(*values, strict=True)]
            return merged if isinstance(first, list) else tuple(merged)
        if isinstance(first, dict):
            return {key: self._merge([value[key] for value in values]) for key in first}
        if isinstance(first, slice):
            parts = (self._merge([getattr(v, part) for v in values]) for part in ("start", "stop", "step"))
            return slice(*parts)
        if all(value == first for value in values):
            return first
        if type(first) is int:
            return self._size(values)
        raise NotGeneralError("an argument depends on the batch size")

    def _size(self, values: list[int]) -> fx.Node:
        slope, rest = divmod(values[1] - values[0], BATCH_SIZES[1] - BATCH_SIZES[0])
        offset = values[0] - slope * BATCH_SIZES[0]
        if rest or any(slope * b + offset != v for b, v in zip(BATCH_SIZES, values, strict=True)):
            raise NotGeneralError("a size is no linear function of the batch size")
        if (slope, offset) not in self._sizes:
            self._sizes[slope, offset] = self._arithmetic(slope, offset)
        return self._sizes[slope, offset]

    def _arithmetic(self, slope: int, offset: int) -> fx.Node:
        assert self._batch is not None, "sizes come after the input"
        with self.graph.inserting_after(self._batch):
            size = self._sizes.get((1, 0)) or self.graph.call_method("size", (self._batch, 0))
            self._sizes[1, 0] = size
        with self.graph.inserting_after(size):
            scaled = size if slope == 1 else self.graph.call_function(operator.mul, (size, slope))
        with self.graph.inserting_after(scaled):
            return scaled if not offset else self.graph.call_function(operator.add, (scaled, offset))
