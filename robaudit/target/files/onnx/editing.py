"""Changes to a graph that last as long as its twin is imported; the judge's file stays as it is."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx.numpy_helper

from robaudit.target.outputs.peel import JOINED, Tail
from robaudit.target.outputs.wiring import Wiring

__all__ = ["joined", "raw_scores"]


@contextlib.contextmanager
def joined(model: onnx.ModelProto, columns: Sequence[str]) -> Iterator[None]:
    """The model with one more tensor, ``JOINED``, that holds a score a class, for as long as it is imported."""
    count, held = len(model.graph.node), len(model.graph.initializer)
    if columns:
        shape = f"{JOINED}/shape"
        parts = [f"{JOINED}/{place}" for place in range(len(columns))]
        made = [onnx.helper.make_node("Reshape", [a, shape], [b]) for a, b in zip(columns, parts, strict=True)]
        model.graph.node.extend([*made, onnx.helper.make_node("Concat", parts, [JOINED], axis=1)])
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1], np.int64), shape))
    try:
        yield
    finally:
        del model.graph.node[count:]
        del model.graph.initializer[held:]


@contextlib.contextmanager
def raw_scores(wiring: Wiring, tail: Tail) -> Iterator[None]:
    """The model with classifiers that end in their raw scores, for as long as it is imported."""
    nodes = [node for name in tail.raw if (node := wiring.maker(name)) is not None]
    whole = [copy.deepcopy(node) for node in nodes]
    for node in nodes:
        for place in reversed(range(len(node.attribute))):
            if node.attribute[place].name in ("prob_a", "prob_b"):
                del node.attribute[place]
            elif node.attribute[place].name == "post_transform":
                node.attribute[place].s = b"NONE"
    try:
        yield
    finally:
        for node, before in zip(nodes, whole, strict=True):
            node.CopyFrom(before)
