"""Sequences and optionals: lists of tensors, and None, that exist only while a graph is traced."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import ints
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, Value, operator
from robaudit.target.onnx.tracing import run_nodes


@operator("SequenceEmpty")
def _empty(node: Node) -> Result:
    return []


@operator("SequenceConstruct")
def _construct(node: Node, *values: Tensor) -> Result:
    return list(values)


@operator("SequenceAt", host=(1,))
def _at(node: Node, values: list[Tensor], position: Tensor) -> Tensor:
    return values[int(position)]


@operator("SequenceInsert", host=(2,))
def _insert(node: Node, values: list[Tensor], value: Tensor, position: Tensor | None = None) -> Result:
    at = len(values) if position is None else int(position)
    at += len(values) if at < 0 else 0
    return [*values[:at], value, *values[at:]]


@operator("SequenceErase", host=(1,))
def _erase(node: Node, values: list[Tensor], position: Tensor | None = None) -> Result:
    at = (-1 if position is None else int(position)) % len(values)
    return values[:at] + values[at + 1 :]


@operator("SequenceLength")
def _length(node: Node, values: list[Tensor]) -> Tensor:
    return torch.tensor(len(values))


@operator("ConcatFromSequence")
def _concat(node: Node, values: list[Tensor]) -> Tensor:
    axis = node.integer("axis", 0)
    return torch.stack(values, axis) if node.integer("new_axis", 0) else torch.cat(values, axis)


@operator("SplitToSequence", host=(1,))
def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> Result:
    axis = node.integer("axis", 0)
    if sizes is None:
        parts = torch.split(x, 1, axis)
        return list(parts) if node.integer("keepdims", 1) else [part.squeeze(axis) for part in parts]
    return list(torch.split(x, int(sizes) if sizes.dim() == 0 else ints(sizes), axis))


@operator("SequenceMap")
def _map(node: Node, *inputs: Value) -> Result:
    body = node.graph("body")
    own = inputs[: len(inputs) - len(node.captured)]
    outer = dict(zip(node.captured, inputs[len(own) :], strict=True))
    rows: list[list[Value]] = []
    for i in range(len(own[0])):
        values = outer | {
            name: value[i] if isinstance(value, list) else value for name, value in zip(body.inputs, own, strict=True)
        }
        run_nodes(body.nodes, values)
        rows.append([values[name] for name in body.outputs])
    return tuple([row[k] for row in rows] for k in range(len(body.outputs)))


@operator("Optional")
def _optional(node: Node, value: Value = None) -> Result:
    return (value,)


@operator("OptionalHasElement")
def _has_element(node: Node, value: Value = None) -> Tensor:
    return torch.tensor(value is not None)


@operator("OptionalGetElement")
def _get_element(node: Node, value: Value) -> Result:
    if value is None:
        raise node.unsupported("the optional is empty")
    return (value,)
