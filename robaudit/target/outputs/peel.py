"""What a file does to its scores at the end: the softmax, sigmoid or decision that the gradient goes around.

Only the twin is peeled. The judge always takes the file's own output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import onnx

from robaudit.target.outputs.wiring import Wiring, attribute, told

__all__ = ["JOINED", "Decision", "Ending", "Tail", "column_tail", "score_tail"]

Ending = Literal["none", "softmax", "log-softmax", "sigmoid", "sigmoid-share", "exp"]
"""From the twin's tensor z to the file's scores: z, softmax(z), its logarithm, σ(z), σ(z) over their sum, e^z."""
Decision = Literal["none", "argmax", "argmin", "above", "below"]
"""From scores to a label: the largest, the smallest, or class 1 where one number is above or below a threshold."""

PASSES = {
    "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Transpose", "Expand",
    "ReduceMean",
}  # fmt: skip
"""A mean passes too, as exporters write it over a single number; over several, the proof on answers fails."""
COLUMNS_OF = ("softmax", "sigmoid")
"""Endings one column of which may be all that the file gives."""
JOINED = "robaudit/columns"
"""Tensor of the twin in which outputs of one score each are put together."""
LOW, HIGH = 1e-3, 1 - 1e-3
"""A clip to [LOW, HIGH] or wider guards a logarithm and changes no probability that matters."""


@dataclass(frozen=True)
class Tail:
    """The end of a graph.

    Args:
        tensor: what the twin returns.
        ending: how scores come from it; ``decision``: how a label comes from the scores.
        threshold: of the decisions ``above`` and ``below``.
        through: nodes left out, from the output backwards, as ``Op (name)``.
        values: what the file calls its classes, in the order of its scores, where a label is mapped to them.
        raw: nodes whose ``post_transform``, or fitted probabilities, the twin leaves out.
        column: the file gives this one of the scores alone, as in ``softmax(z)[:, 1]``; None: all.
    """

    tensor: str
    ending: Ending = "none"
    decision: Decision = "none"
    threshold: float = 0.0
    through: tuple[str, ...] = ()
    values: tuple[Any, ...] | None = None
    raw: tuple[str, ...] = field(default=())
    column: int | None = None

    @property
    def peeled(self) -> bool:
        """Whether the twin's tensor is not the file's output."""
        return self.ending != "none" or self.decision != "none"


def score_tail(wiring: Wiring, output: str) -> Tail:
    """The tail of an output that holds class scores; one without a known end is left as it is."""
    name, path = _before_maps(wiring, output)
    path += _names(wiring, name)
    node, start = _first_that_computes(wiring, name)
    if node is None:
        return Tail(output)
    kind = node.op_type
    path.append(told(node))
    if (column := _picked(wiring, node)) is not None:
        whole = score_tail(wiring, node.input[0])
        if whole.ending not in COLUMNS_OF or whole.column is not None:
            return Tail(output)
        return replace(whole, column=column, through=(*path, *whole.through))
    if kind == "Softmax" and _over_classes(wiring, node):
        return Tail(node.input[0], "softmax", through=tuple(path))
    if kind == "LogSoftmax" and _over_classes(wiring, node):
        return Tail(node.input[0], "log-softmax", through=tuple(path))
    if kind == "Sigmoid":
        return Tail(node.input[0], "sigmoid", through=tuple(path))
    if kind == "Exp":
        return Tail(node.input[0], "exp", through=tuple(path))
    if kind == "Log":
        inner, _ = _first_that_computes(wiring, node.input[0])
        if inner is not None and inner.op_type == "Softmax" and _over_classes(wiring, inner):
            return Tail(inner.input[0], "log-softmax", through=(*path, told(inner)))
    if kind == "Div" or (kind == "Normalizer" and attribute(node, "norm", "MAX") == "L1"):
        return _share(wiring, node, path) or Tail(output)
    if kind == "LinearClassifier":
        return _linear_classifier(node, start, path) or Tail(output)
    return Tail(output)


def column_tail(wiring: Wiring, columns: Sequence[str]) -> Tail:
    """The tail of scores that have an output a class: of the tensor that was taken apart, else of ``JOINED``."""
    parts = [_part(wiring, name) for name in columns]
    tensors = {tensor for tensor, _ in parts}
    if len(tensors) == 1 and [index for _, index in parts] == list(range(len(columns))):
        return score_tail(wiring, tensors.pop())
    return Tail(JOINED)


def _part(wiring: Wiring, output: str) -> tuple[str, int | None]:
    """(tensor, column) that an output of one number was taken from."""
    node, name = _first_that_computes(wiring, output)
    if node is None:
        return output, None
    if node.op_type == "Split" and attribute(node, "axis", 0) in (1, -1):
        return node.input[0], list(node.output).index(name)
    if node.op_type == "ArrayFeatureExtractor":
        index = wiring.number(node.input[1])
        return node.input[0], None if index is None else int(index)
    column = _picked(wiring, node)
    return (output, None) if column is None else (node.input[0], column)


def _before_maps(wiring: Wiring, name: str) -> tuple[str, list[str]]:
    node = wiring.maker(name)
    if node is not None and node.op_type == "ZipMap":
        return node.input[0], [told(node)]
    return name, []


def _names(wiring: Wiring, name: str) -> list[str]:
    """The nodes that only reshape, from a value backwards."""
    found = []
    while (node := wiring.maker(name)) is not None and _passes(wiring, node):
        found.append(told(node))
        name = node.input[0]
    return found


def _first_that_computes(wiring: Wiring, name: str) -> tuple[onnx.NodeProto | None, str]:
    """The node that makes a value, those that only reshape left out, and the name that it gives the value."""
    while (node := wiring.maker(name)) is not None and _passes(wiring, node):
        name = node.input[0]
    return node, name


def _passes(wiring: Wiring, node: onnx.NodeProto) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Clip":
        if wiring.opset < 11:
            low, high = attribute(node, "min", -math.inf), attribute(node, "max", math.inf)
        else:
            bounds = [*node.input[1:], "", ""]
            low = -math.inf if not bounds[0] else wiring.number(bounds[0])
            high = math.inf if not bounds[1] else wiring.number(bounds[1])
        return low is not None and high is not None and low <= LOW and high >= HIGH
    if node.op_type == "Cast":
        return attribute(node, "to", 1) in (
            onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
        )  # fmt: skip
    return node.op_type in PASSES


def _picked(wiring: Wiring, node: onnx.NodeProto) -> int | None:
    """Which column a node takes out, None where it does something else; that classes are columns is proved later."""
    if node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return None
    if node.op_type == "Gather" and attribute(node, "axis", 0) in (1, -1):
        index = wiring.number(node.input[1])
        return None if index is None else int(index)
    if node.op_type == "Slice" and len(node.input) > 3:
        start, end, axis = (wiring.number(name) for name in node.input[1:4])
        if start is not None and end is not None and axis in (1, -1):
            return int(start) if end - start == 1 or (start == -1 and end > 2**31) else None
    return None


def _over_classes(wiring: Wiring, node: onnx.NodeProto) -> bool:
    """Whether a softmax may run over the classes; that it does is proved on the answers."""
    return attribute(node, "axis", -1 if wiring.opset >= 13 else 1) in (1, -1, 2, 3)


def _share(wiring: Wiring, node: onnx.NodeProto, path: list[str]) -> Tail | None:
    """Numbers over their own sum: a softmax spelled out, or sigmoids made to sum to 1."""
    top = node.input[0]
    if node.op_type == "Div":
        below, _ = _first_that_computes(wiring, node.input[1])
        if below is None or below.op_type != "ReduceSum" or below.input[0] != top:
            return None
    made, start = _first_that_computes(wiring, top)
    if made is None:
        return None
    through = (*path, told(made))
    if made.op_type == "Exp":
        return Tail(made.input[0], "softmax", through=through)
    if made.op_type == "Sigmoid":
        return Tail(made.input[0], "sigmoid-share", through=through)
    if made.op_type == "LinearClassifier":
        inner = _linear_classifier(made, start, [*path, told(made)])
        if inner is not None and inner.ending == "sigmoid":
            return Tail(inner.tensor, "sigmoid-share", through=inner.through, raw=inner.raw)
        return inner if inner is not None and inner.ending == "softmax" else None
    return None


def _linear_classifier(node: onnx.NodeProto, made: str, path: list[str]) -> Tail | None:
    """Scores of a linear classifier before its own softmax or logistic function, one row of weights a class."""
    if len(node.output) < 2 or node.output[1] != made:
        return None
    labels = attribute(node, "classlabels_ints") or attribute(node, "classlabels_strings") or ()
    if len(labels) != len(attribute(node, "intercepts") or ()):
        return None
    endings: dict[str, Ending] = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
    ending = endings.get(attribute(node, "post_transform", "NONE"))
    return None if ending is None else Tail(made, ending, through=tuple(path), raw=(made,))
