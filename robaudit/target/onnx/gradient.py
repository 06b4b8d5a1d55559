"""Where a graph's gradient ends though its values go on."""

from __future__ import annotations

from robaudit.target.onnx.graph import DTYPES, Graph, Node
from robaudit.target.onnx.registry import find

# Piecewise constant: the derivative is zero wherever it exists.
_COMPARISONS = {
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "IsNaN",
    "IsInf",
    "Not",
    "And",
    "Or",
    "Xor",
}
_BITS = {"BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"}
_STEPS = {"Round", "Floor", "Ceil", "Sign", "ArgMax", "ArgMin", "Hardmax", "OneHot", "NonZero"}
_FLAT = frozenset(_COMPARISONS | _BITS | _STEPS)
# Inputs that choose or measure and are not themselves part of the result's value.
_CHOOSING: dict[str, tuple[int, ...]] = {
    "Where": (0,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "ScatterND": (1,),
    "ScatterElements": (1,),
    "Scatter": (1,),
    "CastLike": (1,),
    "EyeLike": (0,),
    "Dropout": (1, 2),
}
_SHAPES = frozenset({"Shape", "Size", "EyeLike"})


def cuts(graph: Graph, outputs: tuple[str, ...]) -> list[str]:
    """Operators between the input and these outputs that end the gradient, as ``Op (node name)``.

    A comparison that only chooses (a Where's condition, a Gather's index) cuts nothing: the values chosen
    from keep their gradient. QuantizeLinear is no cut: its gradient goes straight through.
    """
    from_data = set(graph.inputs)
    for node in graph.nodes:
        if node.op not in _SHAPES and from_data.intersection(node.inputs):
            from_data.update(node.outputs)
    valued = set(outputs)
    found: list[str] = []
    for node in reversed(graph.nodes):
        made = [name for name in node.outputs if name in valued]
        if not made or not from_data.intersection(made):
            continue
        if _cuts(node, made):
            found.append(f"{node.op} ({node.name})")
        skipped = () if node.domain else _CHOOSING.get(node.op, ())
        valued.update(name for i, name in enumerate(node.inputs) if i not in skipped)
    found.reverse()
    return found


def _cuts(node: Node, made: list[str]) -> bool:
    known = find(node.domain, node.op)
    if known is not None and any(i in known.flat for i, name in enumerate(node.outputs) if name in made):
        return True
    if node.domain:
        return False
    if node.op == "TopK":
        return len(node.outputs) > 1 and node.outputs[1] in made  # the indices
    if node.op == "Cast":
        code = node.integer("to", 0)
        return code in DTYPES and not DTYPES[code].is_floating_point
    return node.op in _FLAT
