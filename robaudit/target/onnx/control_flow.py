"""Branches and loops.

What the shapes or constants decide is decided while tracing: the branch taken, or the loop unrolled, is all
that the program holds. What the data decide stays in the program as a call with programs of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from robaudit.target.onnx.arguments import ints
from robaudit.target.onnx.distances import powered_distances
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import Result, Value, operator
from robaudit.target.onnx.tracing import Recorder, Traced, run_nodes

LONGEST = 50_000
"""Operator calls that unrolling one loop may record; a longer program would take minutes to trace."""


def without_known_branches(graph: Graph) -> Graph | None:
    """The graph with every If whose condition is a constant replaced by the branch taken; None without such."""
    nodes: list[Node] = []
    changed = False
    for node in graph.nodes:
        condition = graph.constants.get(node.inputs[0]) if node.op == "If" and not node.domain else None
        if condition is None:
            nodes.append(node)
            continue
        changed = True
        branch = node.graph("then_branch" if bool(condition) else "else_branch")
        nodes.extend(branch.nodes)
        for made, name in zip(branch.outputs, node.outputs, strict=False):
            if name:
                nodes.append(Node("Identity", "", node.version, f"{node.name}.{name}", (made,), (name,)))
    return graph.with_nodes(tuple(nodes), graph.constants) if changed else None


@operator("If")
def _if(node: Node, condition: Tensor, *captured: Value) -> Result:
    outer = dict(zip(node.captured, captured, strict=True))
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    if not isinstance(condition, Traced):
        return tuple(_run(branches[0 if bool(condition) else 1], outer))
    programs = [_Program(node, branch, [], outer, condition.recorder) for branch in branches]
    shapes = [[(value.shape, value.dtype) for value in program.results] for program in programs]
    if shapes[0] != shapes[1]:
        raise node.unsupported("the data choose between branches of different shapes")
    recorder = condition.recorder
    call = (
        recorder.argument(condition),
        *(part for program in programs for part in (recorder.held(program.module), tuple(program.lifted))),
    )
    recorded = recorder.trace.graph.call_function(take_branch, call)
    return tuple(recorder.result(programs[0].results, recorded))


def take_branch(
    condition: Tensor,
    then: fx.GraphModule,
    then_arguments: Sequence[Tensor],
    otherwise: fx.GraphModule,
    otherwise_arguments: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run the branch that the data choose; reads the condition on the host."""
    chosen, arguments = (then, then_arguments) if bool(condition) else (otherwise, otherwise_arguments)
    result: tuple[Tensor, ...] = chosen(*arguments)
    return result


@operator("Loop", host=(0,))
def _loop(node: Node, trips: Tensor | None, condition: Tensor | None, *rest: Value) -> Result:
    body = node.graph("body")
    count = len(body.inputs) - 2
    carried, outer = list(rest[:count]), dict(zip(node.captured, rest[count:], strict=True))
    most = None if trips is None else int(trips)
    heeded = condition is not None  # without a first condition, the body's are ignored
    rows: list[list[Value]] = []
    while most is None or len(rows) < most:
        if isinstance(condition, Traced):
            if rows or len(body.outputs) > 1 + count:
                raise node.unsupported("the data decide how many results it collects")
            return _data_loop(node, most, condition, carried, outer)
        if condition is not None and not bool(condition):
            break
        if len(rows) * max(len(body.nodes), 1) > LONGEST:
            raise node.unsupported(f"more than {len(rows)} rounds")
        given = [torch.tensor(len(rows)), torch.tensor(True) if condition is None else condition, *carried]
        following, *results = _run(body, outer | dict(zip(body.inputs, given, strict=True)))
        if condition is not None and isinstance(following, Traced) and not rows and len(body.outputs) == 1 + count:
            return _data_loop(node, most, condition, carried, outer)
        condition = following if heeded else None
        carried = results[:count]
        rows.append(results[count:])
    if not rows and len(body.outputs) > 1 + count:
        raise node.unsupported("no round is run, so that the shape of what it collects is unknown")
    return (*carried, *(torch.stack([row[k] for row in rows]) for k in range(len(body.outputs) - 1 - count)))


def _data_loop(
    node: Node, most: int | None, condition: Tensor, carried: list[Value], outer: Mapping[str, Value]
) -> Result:
    """A loop whose end the data decide."""
    body = node.graph("body")
    traced = [value for value in (condition, *carried, *outer.values()) if isinstance(value, Traced)]
    if not traced or not all(isinstance(value, Tensor) for value in carried):
        raise node.unsupported("it carries sequences, and the data decide its end")
    recorder = traced[0].recorder
    given = [torch.tensor(0), torch.tensor(True), *carried]
    program = _Program(node, body, given, outer, recorder)
    shapes = [[(value.shape, value.dtype) for value in values] for values in (carried, program.results[1:])]
    if shapes[0] != shapes[1]:
        raise node.unsupported("the data decide its end, and its values change their shape")
    call = (
        recorder.held(program.module),
        most,
        recorder.argument(condition),
        tuple(recorder.argument(value) for value in carried),
        tuple(program.lifted),
    )
    recorded = recorder.trace.graph.call_function(run_loop, call)
    return tuple(recorder.result(program.results[1:], recorded))


def run_loop(
    body: fx.GraphModule,
    most: int | None,
    condition: Tensor,
    carried: Sequence[Tensor],
    arguments: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run a loop until the data end it; reads the condition on the host each round."""
    values, rounds = tuple(carried), 0
    while (most is None or rounds < most) and bool(condition):
        number = torch.tensor(rounds, device=values[0].device if values else None)
        condition, *following = body(number, torch.as_tensor(condition), *values, *arguments)
        values, rounds = tuple(following), rounds + 1
    return values


@operator("Scan")
def _scan(node: Node, *inputs: Value) -> Result:
    if node.version < 9:
        return _batched_scan(node, *inputs)
    own = inputs[: len(inputs) - len(node.captured)]
    outer = dict(zip(node.captured, inputs[len(own) :], strict=True))
    count = node.integer("num_scan_inputs", 1)
    state, sequences = list(own[:-count]), own[-count:]
    if len(state) == count == 1:
        measured = powered_distances(node, state[0], sequences[0], outer)
        if measured is not None:
            return state[0], measured
    axes = node.integers("scan_input_axes") or [0] * count
    backwards = node.integers("scan_input_directions") or [0] * count
    collected = len(node.graph("body").outputs) - len(state)
    rows = [
        sequence.flip(axis).unbind(axis) if back else sequence.unbind(axis)
        for sequence, axis, back in zip(sequences, axes, backwards, strict=True)
    ]
    state, results = _scanned(node, state, rows, outer)
    out_axes = node.integers("scan_output_axes") or [0] * collected
    out_backwards = node.integers("scan_output_directions") or [0] * collected
    stacked = [
        torch.stack(list(reversed(values)) if back else values, axis)
        for values, axis, back in zip(results, out_axes, out_backwards, strict=True)
    ]
    return (*state, *stacked)


def _batched_scan(node: Node, lengths: Tensor | None, *inputs: Value) -> Result:
    """Opset 8: the first axis is the batch, the second the sequence."""
    own = inputs[: len(inputs) - len(node.captured)]
    outer = dict(zip(node.captured, inputs[len(own) :], strict=True))
    count = node.integer("num_scan_inputs", 1)
    states, sequences = own[:-count], own[-count:]
    backwards = node.integers("directions") or [0] * count
    if isinstance(lengths, Traced) or (lengths is not None and len(set(ints(lengths))) > 1):
        raise node.unsupported("sequences of several lengths")
    finals: list[list[Value]] = []
    collected: list[list[Tensor]] = []
    for sample in range(sequences[0].shape[0]):
        rows = [
            sequence[sample].flip(0).unbind(0) if back else sequence[sample].unbind(0)
            for sequence, back in zip(sequences, backwards, strict=True)
        ]
        final, results = _scanned(node, [state[sample] for state in states], rows, outer)
        finals.append(final)
        collected.append([torch.stack(values) for values in results])
    samples = [[*final, *results] for final, results in zip(finals, collected, strict=True)]
    return tuple(torch.stack(list(column)) for column in zip(*samples, strict=True))


def _scanned(
    node: Node, state: list[Value], rows: Sequence[Sequence[Tensor]], outer: Mapping[str, Value]
) -> tuple[list[Value], list[list[Tensor]]]:
    """Final state, and for each collected output the values of all rounds."""
    body = node.graph("body")
    if len(rows[0]) * max(len(body.nodes), 1) > LONGEST:
        raise node.unsupported(f"{len(rows[0])} rounds")
    results: list[list[Tensor]] = [[] for _ in body.outputs[len(state) :]]
    for elements in zip(*rows, strict=True):
        made = _run(body, {**outer, **dict(zip(body.inputs, (*state, *elements), strict=True))})
        for values, value in zip(results, made[len(state) :], strict=True):
            values.append(value)
        state = made[: len(state)]
    return state, results


def _run(graph: Graph, values: Mapping[str, Value]) -> list[Value]:
    """The outputs of a nested graph on outer values and its inputs."""
    named = dict(values)
    run_nodes(graph.nodes, named)
    return [named[name] for name in graph.outputs]


class _Nested(Recorder):
    """Records a program inside another one's: whatever comes from outside is an argument of it."""

    def __init__(self) -> None:
        super().__init__({})
        self.lifted: dict[str, Tensor] = {}

    def lift(self, value: Tensor) -> Traced:
        """An argument that stands for an outer value."""
        name = f"outer_{len(self.lifted)}"
        self.lifted[name] = value
        body = next((n for n in self.trace.graph.nodes if n.op != "placeholder"), None)
        # Arguments stand at the head of the program, in the order in which they are asked for.
        with self.trace.graph.inserting_before(body) if body is not None else contextlib.nullcontext():
            return self.placeholder(name, value.meta if isinstance(value, Traced) else value)

    def _constant(self, value: Tensor) -> fx.Node:
        return self.lift(value).node


class _Program:
    """A nested graph as a program without constants.

    Args:
        node: that holds the graph.
        graph: to be traced.
        given: values for its inputs, of which only shape and type count.
        outer: values that it reads.
        recorder: of the program around.
    """

    def __init__(
        self, node: Node, graph: Graph, given: Sequence[Tensor], outer: Mapping[str, Value], recorder: Recorder
    ) -> None:
        nested = _Nested()
        inputs = {
            name: nested.placeholder(f"input_{i}", value.meta if isinstance(value, Traced) else value)
            for i, (name, value) in enumerate(zip(graph.inputs, given, strict=True))
        }
        lifted = {name: nested.lift(v) if isinstance(v, Traced) else v for name, v in outer.items()}
        if any(isinstance(value, list) for value in outer.values()):
            raise node.unsupported("a branch or loop that the data decide reads a sequence")
        results = _run(graph, {**lifted, **inputs})
        if not all(isinstance(value, Tensor) for value in results):
            raise node.unsupported("a branch or loop that the data decide returns a sequence")
        nested.trace.graph.output(tuple(nested.argument(value) for value in results))
        self.results = [value.meta if isinstance(value, Traced) else value.to("meta") for value in results]
        self.module = fx.GraphModule({}, nested.trace.graph)
        self.lifted = [recorder.argument(value) for value in nested.lifted.values()]
