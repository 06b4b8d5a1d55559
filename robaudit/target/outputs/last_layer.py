"""Where the last linear layer of an ONNX graph begins: what it is given are the features of an input."""

from __future__ import annotations

import onnx

from robaudit.target.outputs.wiring import Wiring, attribute

__all__ = ["features_before"]

MOVES = {"Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
"""Operators that only move numbers, or leave them as they are."""
AVERAGES = {"GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceSum"}
"""Linear operators without weights, which stand behind a convolution that makes the scores."""
SCALES = {"Add", "Sub", "Mul", "Div"}
"""Linear where all but one of the operands are written in the file."""
LAYERS = {"Gemm", "MatMul", "Conv"}
FLOATS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
)  # fmt: skip


def features_before(wiring: Wiring, scores: str) -> str | None:
    """The value that the last linear layer is given, from which scores follow linearly; None where there is no such.

    A function that is not linear behind the layer, such as a cap on the scores, is a part of the model that must not be
    cut away unseen: then there is none.

    Args:
        wiring: of the graph.
        scores: the value that the layer makes, before a softmax or the like.
    """
    name = scores
    while (node := wiring.maker(name)) is not None and node.domain in ("", "ai.onnx"):
        moving = [given for given in node.input if given and not _written(wiring, given)]
        if not moving:
            return None
        if node.op_type in LAYERS:
            return moving[0] if len(moving) == 1 and not attribute(node, "transA", 0) else None
        single = node.op_type in SCALES and len(moving) == 1 and (node.op_type != "Div" or moving[0] == node.input[0])
        cast = node.op_type == "Cast" and attribute(node, "to", 1) in FLOATS
        if not (single or cast or node.op_type in MOVES | AVERAGES):
            return None
        name = moving[0]
    return None


def _written(wiring: Wiring, name: str) -> bool:
    """Whether a value is written in the file, or made of such alone, as weights that are transposed or dequantised."""
    open_ = [name]
    while open_:
        name = open_.pop()
        if wiring.is_constant(name):
            continue
        node = wiring.maker(name)
        if node is None or not node.input:
            return False
        open_ += [given for given in node.input if given]
    return True
