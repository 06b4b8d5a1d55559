"""Where a graph's true gradient ends though its values go on."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.target.onnx.element_types import BITS, DTYPES
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.straight_through import EXACT, JOINED, LABEL, rule_of

# Piecewise constant, and without a stand-in.
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
_FLAT = frozenset(_COMPARISONS | _BITS | {"ArgMax", "ArgMin", "OneHot", "NonZero"})
# Inputs that choose or measure and are not themselves part of the result's value.
_CHOOSING: dict[str, tuple[int, ...]] = {
    "Where": (0,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "ScatterND": (1,),
    "ScatterElements": (1,),
    "Scatter": (1,),
    "Compress": (1,),
    "MaxUnpool": (1,),
    "RoiAlign": (2,),
    "ReverseSequence": (1,),
    "TensorScatter": (2,),
    "RotaryEmbedding": (3,),
    "Attention": (3, 6),
    "RNN": (4,),
    "GRU": (4,),
    "LSTM": (4,),
    "NegativeLogLikelihoodLoss": (1,),
    "SoftmaxCrossEntropyLoss": (1,),
    "CastLike": (1,),
    "EyeLike": (0,),
    "Dropout": (1, 2),
    "If": (0,),
}
_SHAPES = frozenset(
    {"Shape", "Size", "EyeLike", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"}
)
_CASTS = frozenset({"Cast", "CastLike"})


@dataclass(frozen=True)
class Cut:
    """An operator on the path from input to output whose derivative is zero.

    ``rule`` says what stands for the derivative: "straight-through", "clipped" (straight-through where it does not
    saturate) or "softmax"; "exact" when nothing does.
    """

    op: str
    node: str
    rule: str

    @property
    def ends(self) -> bool:
        """Whether no gradient passes here."""
        return self.rule == EXACT

    def __str__(self) -> str:
        """``Op (node name), rule``."""
        how = {EXACT: "ends the gradient", "clipped": "clipped straight-through"}.get(self.rule, self.rule)
        return f"{self.op} ({self.node}), {how}"


def cuts(graph: Graph, outputs: tuple[str, ...]) -> list[Cut]:
    """Every operator between the input and these outputs that cuts the true gradient, in order.

    A comparison that only chooses (a Where's condition, a Gather's index) cuts nothing: the values chosen
    from keep their gradient. A choice among constants ends it.
    """
    from_data = set(graph.inputs)
    for node in graph.nodes:
        if node.op not in _SHAPES and from_data.intersection(node.inputs):
            from_data.update(node.outputs)
    valued = set(outputs)
    found: list[Cut] = []
    for node in reversed(graph.nodes):
        made = [name for name in node.outputs if name in valued]
        if not made or not from_data.intersection(made):
            continue
        choosing = () if node.domain else _CHOOSING.get(node.op, ())
        flowing = [name for i, name in enumerate(node.inputs) if i not in choosing]
        if _cuts(node, made):
            found.append(Cut(node.text(LABEL, node.op), node.name, rule_of(node)))
        elif choosing and not from_data.intersection(flowing):
            found.append(Cut(node.op, node.name, EXACT))
        valued.update(flowing)
    found.reverse()
    return found


def _cuts(node: Node, made: list[str]) -> bool:
    known = find(node.domain, node.op)
    if known is not None and any(i in known.flat for i, name in enumerate(node.outputs) if name in made):
        return True
    if not node.domain and node.op in _CASTS:
        return _narrows(node) and not node.integer(JOINED, 0)
    if node.op == "MatMulNBits" and node.integer("accuracy_level", 0) != 4:
        return False  # its data are rounded at that level alone
    if known is not None and known.backward:
        return not node.integer(JOINED, 0)
    if node.domain:
        return False
    if node.op in ("TopK", "MaxPool"):
        return len(node.outputs) > 1 and node.outputs[1] in made  # the indices
    return node.op in _FLAT


def _narrows(node: Node) -> bool:
    """Whether a conversion goes from a floating-point type to one of integers or of 8 bits and fewer."""
    start, code = node.integer("from", 0), node.integer("to", 0)
    whole = start in BITS or (start in DTYPES and not DTYPES[start].is_floating_point)
    return not whole and (code not in DTYPES or not DTYPES[code].is_floating_point)
