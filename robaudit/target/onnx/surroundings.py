"""What lies around an operator, as far as it decides what may stand for its derivative."""

from __future__ import annotations

from collections import defaultdict

from robaudit.target.onnx.element_types import BITS
from robaudit.target.onnx.graph import Graph, Node

# What keeps every score what it is, or a score.
_KEEPS = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Softmax", "LogSoftmax"),
        *("DequantizeLinear", "QuantizeLinear", "QLinearSoftmax"),
    }
)


def scores(graph: Graph) -> set[str]:
    """The outputs, and what they are but for their form, a softmax or a quantiser."""
    names = set(graph.outputs)
    for node in reversed(graph.nodes):
        if names.intersection(node.outputs) and node.op in _KEEPS:
            names.update(node.inputs[:1])
    return names


def to_integer(node: Node) -> bool:
    """Whether a node converts to an integer type."""
    return not node.domain and node.op in ("Cast", "CastLike") and node.integer("to", 0) in BITS


# What an integer may meet before it is a float again, for a float to stand in for it: operators that move or
# choose values (by their first inputs: the others say how), and those that take either.
_MOVES = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Expand", "Tile"),
        *("Pad", "Gather", "DepthToSpace", "SpaceToDepth", "MaxPool", "ReduceMax", "ReduceMin", "Clip", "Dropout"),
    }
)
_MERGES = frozenset({"Concat", "Max", "Min"})
# Integers of 8 and 16 bits wrap around here.
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Neg", "Abs", "Relu", "Sum", "ReduceSum"})
_ENDS: dict[str, tuple[int, ...]] = {
    "Cast": (0,),
    "CastLike": (0, 1),
    "DequantizeLinear": (0, 2),
    "QuantizeLinear": (0, 2),
    "MatMulInteger": (0, 1, 2, 3),
    "ConvInteger": (0, 1, 2, 3),
    "QLinearConv": (0, 2, 3, 5, 7),
    "QLinearMatMul": (0, 2, 3, 5, 7),
    "Equal": (0, 1),
    "Greater": (0, 1),
    "GreaterOrEqual": (0, 1),
    "Less": (0, 1),
    "LessOrEqual": (0, 1),
    "Shape": (0,),
    "Size": (0,),
    "ArgMax": (0,),
    "ArgMin": (0,),
}


def carried_as_floats(graph: Graph) -> set[str]:
    """The values that may be floats where the file has integers: nothing that reads them needs true ones."""
    wide: dict[str, bool] = {}
    for node in graph.nodes:
        own = BITS[node.integer("to", 0)][0] >= 32 if to_integer(node) else None
        for name in node.outputs:
            wide[name] = own if own is not None else all(wide.get(i, True) for i in node.inputs)
    unsafe: set[str] = set()
    for node in reversed(graph.nodes):
        fine = not unsafe.intersection(node.outputs)
        for position, name in enumerate(node.inputs):
            if position in _ENDS.get(node.op, ()) and not node.domain:
                continue
            passes = _passes(node.op, position, wide=wide.get(name, True))
            if node.domain or not passes or not fine:
                unsafe.add(name)
    return {name for node in graph.nodes for name in node.outputs} - unsafe


def _passes(op: str, position: int, *, wide: bool) -> bool:
    """Whether what an operator makes of this input may be a float if the input is one."""
    if op in _MOVES:
        return position == 0 or op == "Clip"
    if op == "Where":
        return position > 0
    return op in _MERGES or (op in _ARITHMETIC and wide)


_STEPS = frozenset({"Round", "Floor", "Ceil", "Sign", "Cast"})
_ELEMENTWISE = frozenset({"Mul", "Div", "Add", "Sub", "Cast", "Identity", "Abs", "Neg", "Sqrt", "Pow"})


def parts_of_a_slope(graph: Graph) -> set[str]:
    """Outputs of steps that have a true derivative once they meet their own input again.

    A remainder (x - floor(x)) has the slope of x, and sign(x) f(x) that of f: with a stand-in for the step the
    first would have none, the second a wrong one.
    """
    producer = {name: node for node in graph.nodes for name in node.outputs}
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)

    def data(node: Node) -> str | None:
        """The one input of an elementwise operator that is no constant."""
        names = [name for name in node.inputs if name and name not in graph.constants]
        return names[0] if len(names) == 1 and node.op in _ELEMENTWISE and not node.domain else None

    def origins(name: str) -> set[str]:
        """A value and what it is made of, element by element."""
        found = {name}
        while (node := producer.get(name)) is not None and (before := data(node)) is not None:
            name = before
            found.add(name)
        return found

    def meetings(name: str) -> list[tuple[Node, str, str]]:
        """Where a value, changed element by element, meets another: operator, the value's name there, the other's."""
        found, pending = [], [name]
        while pending:
            current = pending.pop()
            for node in readers[current]:
                others = [other for other in node.inputs if other != current]
                if data(node) == current:
                    pending.extend(node.outputs)
                elif node.op in ("Add", "Sub", "Mul") and not node.domain and len(others) == 1:
                    found.append((node, current, others[0]))
        return found

    result: set[str] = set()
    for node in graph.nodes:
        if node.domain or node.op not in _STEPS or (node.op == "Cast" and not to_integer(node)):
            continue
        own = origins(node.inputs[0])
        for meeting, name, other in meetings(node.outputs[0]):
            if not own & origins(other):
                continue
            if meeting.op == "Mul" and node.op == "Sign":
                result.update(node.outputs)
            elif meeting.op == "Sub" and meeting.inputs[1] == name and node.op != "Sign":
                again = [o for m, _, o in meetings(meeting.outputs[0]) if m.op in ("Add", "Sub")]
                # Taken off x in turn (x - (x - round(x)), a straight-through estimator as exported), it is rounding.
                if not any(own & origins(o) for o in again):
                    result.update(node.outputs)
    return result
