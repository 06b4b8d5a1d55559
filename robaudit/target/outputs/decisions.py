"""How a graph decides on a class, and what it calls the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from robaudit.target.outputs.peel import PASSES, Decision, Tail, score_tail
from robaudit.target.outputs.wiring import Wiring, attribute, told

__all__ = ["class_values", "label_tail", "label_values"]


@dataclass(frozen=True)
class _Decided:
    """What makes a label: the node that decides, its output, what it is mapped to, and the nodes passed, backwards."""

    node: onnx.NodeProto
    name: str
    values: tuple[Any, ...] | None
    path: list[str]


def _decider(wiring: Wiring, output: str) -> _Decided | None:
    name, values, path = output, None, []
    while (node := wiring.maker(name)) is not None:
        path.append(told(node))
        if node.op_type in PASSES or (node.op_type == "Clip" and not path[1:]):
            name = node.input[0]
        elif node.op_type in ("ArrayFeatureExtractor", "Gather") and wiring.is_constant(node.input[0]):
            values, name = _listed(wiring.constant(node.input[0])), node.input[1]
        elif node.op_type == "LabelEncoder":
            values, name = _encoded(node), node.input[0]
        else:
            return _Decided(node, name, values, path)
    return None


def label_values(wiring: Wiring, output: str) -> tuple[Any, ...] | None:
    """What a label output itself can say, in the order of the classes; None where its own nodes do not tell."""
    found = _decider(wiring, output)
    if found is None or found.values is not None:
        return None if found is None else found.values
    if found.node.op_type.endswith("Classifier") and found.node.output[0] == found.name:
        return _own_values(found.node)
    return None


def label_tail(wiring: Wiring, output: str) -> Tail | None:
    """The tail of an output that holds labels; None where what it decides on is not found."""
    found = _decider(wiring, output)
    if found is None:
        return None
    values, path = found.values, found.path
    scores, decision, threshold = _decided(wiring, found.node, found.name)
    if scores is None:
        return None
    before = score_tail(wiring, scores)
    if before.column is not None:
        before = Tail(scores)
    if found.node.op_type == "SVMClassifier" and attribute(found.node, "prob_a"):
        before = Tail(scores, raw=(scores,))  # its votes decide, and not the probabilities fitted to them
    if values is None:
        values = class_values(wiring, output)
    if decision in ("above", "below"):
        if before.ending == "sigmoid" and 0 < threshold < 1:
            threshold = math.log(threshold / (1 - threshold))
        elif before.peeled:
            before = Tail(scores)
    return Tail(before.tensor, before.ending, decision, threshold, (*path, *before.through), values, before.raw)


def class_values(wiring: Wiring, output: str) -> tuple[Any, ...] | None:
    """What an output calls its classes, where the operator that makes it says so (ZipMap, classifiers)."""
    seen = {output, *wiring.ancestors(output)}
    for name in [output, *sorted(seen - {output}, key=wiring.depth, reverse=True)[:12]]:
        node = wiring.maker(name)
        if node is None:
            continue
        if (found := _own_values(node)) is not None:
            return found
    return None


def _own_values(node: onnx.NodeProto) -> tuple[Any, ...] | None:
    for key in ("classlabels_int64s", "classlabels_ints", "classlabels_strings"):
        if found := attribute(node, key):
            return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in found)
    return None


def _decided(wiring: Wiring, node: onnx.NodeProto, name: str) -> tuple[str | None, Decision, float]:
    """(what the label is decided on, how, threshold)."""
    kind = node.op_type
    if kind in ("ArgMax", "ArgMin"):
        return node.input[0], "argmax" if kind == "ArgMax" else "argmin", 0.0
    if kind == "TopK" and len(node.output) > 1 and node.output[1] == name and attribute(node, "sorted", 1):
        return node.input[0], "argmax" if attribute(node, "largest", 1) else "argmin", 0.0
    if kind.endswith("Classifier") and len(node.output) > 1 and node.output[0] == name and node.output[1]:
        return node.output[1], "argmax", 0.0
    if kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        for mine, other, flipped in ((0, 1, False), (1, 0, True)):
            threshold = wiring.number(node.input[other])
            if threshold is not None:
                return node.input[mine], "above" if kind.startswith("Greater") != flipped else "below", threshold
    return None, "none", 0.0


def _listed(array: Any) -> tuple[Any, ...] | None:
    if array is None:
        return None
    return tuple(
        v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in np.asarray(array).ravel().tolist()
    )


def _encoded(node: onnx.NodeProto) -> tuple[Any, ...] | None:
    """Values of a LabelEncoder whose keys are 0, 1, 2 and so on."""
    keys = attribute(node, "keys_int64s")
    for name in ("values_strings", "values_int64s"):
        values = attribute(node, name)
        if keys and values:
            table = dict(zip(keys, values, strict=False))
            if sorted(table) == list(range(len(table))):
                ordered = (table[i] for i in range(len(table)))
                return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in ordered)
    return None
