"""Run a graph's operators on shapes alone and record the torch calls: the result is an ``fx.Graph``.

Every value is either *known* (an ordinary CPU tensor: constants, shapes, arithmetic on them) or *traced*
(depends on the input's values). A handler need not care: an operation on known values simply runs, here and
now; one that touches a traced value is recorded. What the graph computes about shapes is therefore gone
from the recorded program, which neither waits for the accelerator nor repeats host work.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from robaudit.errors import RobauditError, UnsupportedOperatorError
from robaudit.target.onnx.fused import simplify
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.outcomes import Outcomes, Unchanged
from robaudit.target.onnx.registry import SMOOTH, Result, Value, find


class MisfitError(RobauditError):
    """An operator cannot run on these shapes and types, as when a graph does not fit a batch size."""

    def __init__(self, node: Node, cause: Exception) -> None:
        told = (str(cause).splitlines() or [""])[0]
        super().__init__(f"operator {node.qualified} (node {node.name}) does not run on its inputs: {told}")


@dataclass
class Trace:
    """A recorded program: its constants are attributes of the module made from it, by name.

    ``modules``: programs of branches and loop bodies that only the data choose; they have no constants.
    """

    graph: fx.Graph
    constants: dict[str, Tensor] = field(default_factory=dict)
    modules: dict[str, fx.GraphModule] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


_PROPERTIES = frozenset(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim"))


class Traced(Tensor):
    """A value that depends on the input: shape and type are known (a meta tensor), numbers are not."""

    node: fx.Node
    meta: Tensor
    recorder: Recorder

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Record the call; what needs no values (``x.shape``) is answered at once."""
        if not kwargs and len(args) == 1 and func in _PROPERTIES:
            return func(args[0].meta)
        kwargs = kwargs or {}
        recorder = next(leaf.recorder for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Traced))
        return recorder.call(func, args, dict(kwargs))


class Recorder:
    """Builds one trace."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.trace = Trace(fx.Graph())
        self._names = names
        self._attributes: dict[int, tuple[fx.Node, Tensor]] = {}
        self._outcomes = Outcomes()
        self._rows = 1

    def placeholder(self, name: str, example: Tensor) -> Traced:
        """An input of the program; the first one's rows are the batch."""
        if not any(node.op == "placeholder" for node in self.trace.graph.nodes):
            self._rows = example.shape[0] if example.dim() else 1
        return self._wrap(example.to("meta"), self.trace.graph.placeholder(identifier(name)))

    def given(self, name: str, example: Value) -> Value:
        """An input: a meta tensor is an argument of the program, so is each in a sequence; all else is known."""
        if isinstance(example, list):
            return [self.given(f"{name}_{i}", element) for i, element in enumerate(example)]
        traced = isinstance(example, Tensor) and example.device.type == "meta"
        return self.placeholder(name, example) if traced else example

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Find out what a call would return, and record it when that is a tensor."""
        leaves, form = pytree.tree_flatten((args, kwargs))
        result = self._outcomes.of(func, [leaf.meta if isinstance(leaf, Traced) else leaf for leaf in leaves], form)
        if isinstance(result, Unchanged):
            same = leaves[result.position]
            if isinstance(same, Traced):
                return same
            result = same.to("meta")
        if not any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(result)):
            return result
        recorded: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map(self._to_node, (args, kwargs))
        name = getattr(func, "__name__", "")
        graph = self.trace.graph
        if func is Tensor.__getitem__:
            node = graph.call_function(operator.getitem, *recorded)
        elif getattr(Tensor, name, None) is func:
            node = graph.call_method(name, *recorded)
        else:
            node = graph.call_function(func, *recorded)
        if isinstance(result, Tensor):
            return self._wrap(result, node)
        return tuple(self.result(result, node))

    def argument(self, value: Any) -> Any:
        """The node that stands for a value, known or traced; a sequence's are in a list."""
        return pytree.tree_map(self._to_node, value)

    def held(self, module: fx.GraphModule) -> fx.Node:
        """The node that stands for a program inside this one."""
        name = f"program_{len(self.trace.modules)}"
        self.trace.modules[name] = module
        return self.trace.graph.get_attr(name)

    def result(self, meta: Any, node: fx.Node) -> list[Traced]:
        """The tensors that a recorded call returns in a tuple."""
        parts = (self.trace.graph.call_function(operator.getitem, (node, i)) for i in range(len(meta)))
        return [self._wrap(value, part) for value, part in zip(meta, parts, strict=True)]

    def _wrap(self, meta: Tensor, node: fx.Node) -> Traced:
        traced = meta.as_subclass(Traced)
        traced.node, traced.meta, traced.recorder = node, meta, self
        node.meta["val"] = meta
        return traced

    def _to_node(self, value: Any) -> Any:
        if isinstance(value, Traced):
            return value.node
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._attributes:
            # The tensor is kept beside its node: an id is only unique among living objects.
            self._attributes[id(value)] = (self._constant(value), value)
        return self._attributes[id(value)][0]

    def _constant(self, value: Tensor) -> fx.Node:
        name = self._names.get(id(value))
        repeated = [a for a, size in enumerate(value.shape) if size > 1 and value.stride(a) == 0]
        if name is None and 0 not in repeated and _repeats(value, self._rows):
            # Computed from a value repeated (a quantised class token): no longer stored once, but still the same rows.
            repeated.append(0)
        if name is None and repeated:
            # A value repeated (a class token, once a sample) is stored once, and repeated by the program:
            # its shape may then follow the batch.
            base = value
            for axis in repeated:
                base = base.narrow(axis, 0, 1)
            made = self.trace.graph.call_function(torch.broadcast_to, (self._to_node(base), list(value.shape)), {})
        else:
            name = name or f"derived_{len(self.trace.constants)}"
            self.trace.constants[name] = value
            made = self.trace.graph.get_attr(name)
        made.meta["val"] = value.to("meta")
        return made


def identifier(name: str) -> str:
    """A Python name close to an ONNX one."""
    cleaned = re.sub(r"\W", "_", name)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"v_{cleaned}"


def run_node(node: Node, inputs: list[Value]) -> tuple[Value, ...]:
    """Run one operator on known or traced values."""
    handler = find(node.domain, node.op)
    if handler is None:
        raise UnsupportedOperatorError(node.qualified, node.name)
    for position in handler.host:
        if position < len(inputs) and isinstance(inputs[position], Traced):
            raise node.unsupported(f"its input {position} depends on the data")
    try:
        result: Result = handler.run(node, *inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
        raise MisfitError(node, error) from error
    results = result if isinstance(result, tuple) else (result,)
    if SMOOTH in node.attributes and isinstance(results[0], Traced):
        from robaudit.target.onnx.smoothing import smoothly  # its rules look at what is traced

        return smoothly(node, inputs, results)
    return results


def trace(graph: Graph, inputs: Mapping[str, Value], outputs: Iterable[str], names: Mapping[int, str]) -> Trace:
    """Record the program for inputs of these shapes and types.

    A meta tensor among ``inputs`` becomes a placeholder, any other is a known value. ``names`` gives
    constants the attribute names under which the caller holds them (by ``id``).
    """
    recorder = Recorder(names)
    values: dict[str, Value] = dict(graph.constants)
    for name, example in inputs.items():
        values[name] = recorder.given(name, example)
    wanted = tuple(outputs)
    with torch.inference_mode(False), torch.no_grad():
        run_nodes(needed(graph.nodes, wanted), values)
        results = tuple(_declared(values[name], graph.output_types.get(name)) for name in wanted)
    recorder.trace.graph.output(tuple(recorder.argument(value) for value in results))
    recorder.trace.graph.eliminate_dead_code()
    simplify(recorder.trace.graph, recorder.trace.constants)
    recorder.trace.outputs = wanted
    return recorder.trace


def run_nodes(nodes: Iterable[Node], values: dict[str, Value]) -> None:
    """Run nodes in order on the values that have a name, and name their results."""
    for node in nodes:
        text = next((name for name in node.inputs if name and name not in values), None)
        if text is not None:  # constants that are no numbers are not read
            raise node.unsupported(f"its input {text!r} is text")
        results = run_node(node, [values[name] if name else None for name in node.inputs])
        values.update((name, value) for name, value in zip(node.outputs, results, strict=False) if name)


def needed(nodes: Iterable[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that these outputs depend on, in order."""
    names = set(outputs)
    kept: list[Node] = []
    for node in reversed(list(nodes)):
        if names.intersection(node.outputs):
            kept.append(node)
            names.update(node.inputs)
    kept.reverse()
    return kept


def _declared(value: Value, dtype: torch.dtype | None) -> Value:
    """Quantised values are carried as floats; an output has the type that the file declares."""
    if isinstance(value, Tensor) and dtype is not None and not dtype.is_floating_point and value.is_floating_point():
        return value.to(dtype)
    return value


def _repeats(value: Tensor, rows: int) -> bool:
    """Whether a value is one row this many times."""
    return rows > 1 and value.dim() > 0 and len(value) == rows and torch.equal(value, value[:1].expand_as(value))
