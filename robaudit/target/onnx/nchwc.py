"""Files that ONNX Runtime optimised for this processor (``ORT_ENABLE_ALL``), brought back to plain operators.

Their convolutions (domain ``com.microsoft.nchwc``) keep channels in blocks of 8 or 16, and their weights are
stored in that order. The file does not say the block size: it is the one of the processor that it was made
for, and ONNX Runtime reads it with that of the processor that it runs on. So do we, by asking it.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.registry import operator

DOMAIN = "com.microsoft.nchwc"
_OPSET = 17
"""Of the plain operators that nodes are rewritten to."""


def to_plain(graph: Graph) -> Graph:
    """The graph with blocked tensors as plain N x C x H x W, their channels still filled up to whole blocks."""
    if not any(node.domain == DOMAIN for node in graph.nodes):
        return graph
    constants = dict(graph.constants)
    nodes = [made for node in graph.nodes for made in (_plain(node, constants) if node.domain == DOMAIN else [node])]
    return graph.with_nodes(tuple(nodes), constants)


@functools.cache
def block_size() -> int:
    """Channels in a block on this processor: what ONNX Runtime rounds one output channel up to."""
    import onnxruntime

    weight = numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 1, 1])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return max(int(tensor.dims[0]) for tensor in onnx.load(path).graph.initializer)


def _plain(node: Node, constants: dict[str, Tensor]) -> list[Node]:
    if node.op == "Conv":
        return _convolution(node, constants)
    if node.op == "ReorderInput":
        return _reorder_input(node, constants)
    if node.op == "ReorderOutput":
        return _reorder_output(node, constants)
    if node.op == "Upsample":
        scales = f"{node.name}.scales"
        constants[scales] = torch.tensor(node.integers("scales") or [1, 1, 1, 1], dtype=torch.float32)
        repeats = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        attributes = repeats if node.text("mode", "nearest") == "nearest" else node.attributes
        return [_node(node, "Resize", (node.inputs[0], "", scales), node.outputs, attributes)]
    return [replace(node, domain="", version=_OPSET)]


def _convolution(node: Node, constants: dict[str, Tensor]) -> list[Node]:
    """Convolution, then the sum and activation that ONNX Runtime merged into it."""
    weight = constants.get(node.inputs[1])
    if weight is None:
        raise node.unsupported("its weight is not stored in the file")
    name = f"{node.name}.plain_weight"
    constants[name] = unblocked(weight, node.integer("group", 1), block_size())
    attributes = {k: v for k, v in node.attributes.items() if k not in ("activation", "activation_params")}
    more = node.inputs[3] if len(node.inputs) > 3 else ""
    activation = node.text("activation", "")
    names = [f"{node.name}.convolved"] if more or activation else []
    names += [f"{node.name}.summed"] if more and activation else []
    steps = [*names, node.outputs[0]]
    made = [_node(node, "Conv", (node.inputs[0], name, *node.inputs[2:3]), (steps[0],), attributes)]
    if more:
        made.append(_node(node, "Add", (steps[0], more), (steps[1],), {}))
    if activation:
        made += _activation(node, activation, steps[-2], constants)
    return made


def _activation(node: Node, name: str, x: str, constants: dict[str, Tensor]) -> list[Node]:
    values = [float(v) for v in node.attributes.get("activation_params", [])]
    if name != "Clip":
        parameters = dict(zip(("alpha", "beta"), values, strict=False))
        return [_node(node, name, (x,), node.outputs, parameters)]
    bounds = [f"{node.name}.{which}" for which in ("low", "high")]
    constants.update((bound, torch.tensor(value)) for bound, value in zip(bounds, values, strict=True))
    return [_node(node, name, (x, *bounds), node.outputs, {})]


def _reorder_input(node: Node, constants: dict[str, Tensor]) -> list[Node]:
    made, x = [], node.inputs[0]
    if node.integer("channels_last", 0):
        x = f"{node.name}.channels_first"
        made.append(_node(node, "Transpose", (node.inputs[0],), (x,), {"perm": [0, 3, 1, 2]}))
    constants[f"{node.name}.block"] = torch.tensor(block_size())
    filled = _node(node, "FillBlocks", (x, f"{node.name}.block"), node.outputs, {})
    return [*made, replace(filled, domain=INTERNAL)]


@operator("FillBlocks", domain=INTERNAL, host=(1,))
def _fill_blocks(node: Node, x: Tensor, block: Tensor) -> Tensor:
    """Zeros after the last channel, up to a whole block."""
    return F.pad(x, [0, 0, 0, 0, 0, -x.shape[1] % int(block)])


def _reorder_output(node: Node, constants: dict[str, Tensor]) -> list[Node]:
    bounds = [f"{node.name}.{which}" for which in ("start", "end", "axis")]
    values = (0, node.integer("channels", 1), 1)
    constants.update((bound, torch.tensor([value])) for bound, value in zip(bounds, values, strict=True))
    last = node.integer("channels_last", 0)
    kept = f"{node.name}.kept" if last else node.outputs[0]
    made = [_node(node, "Slice", (node.inputs[0], *bounds), (kept,), {})]
    if last:
        made.append(_node(node, "Transpose", (kept,), node.outputs, {"perm": [0, 2, 3, 1]}))
    return made


def _node(
    origin: Node, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: Mapping[str, object]
) -> Node:
    return Node(op, "", _OPSET, f"{origin.name}.{op}", inputs, outputs, dict(attributes))


def unblocked(weight: Tensor, groups: int, block: int) -> Tensor:
    """A convolution's weight [O, I, H, W], given in its stored order.

    One input channel for each group, or fewer in all than a block, are not blocked: O/b, I, H, W, b. All others are
    O/b, I/b, H, W, b (in), b (out).
    """
    out, inner, height, width = weight.shape
    if (groups > 1 and inner == 1) or (groups == 1 and inner < block):
        stored = weight.reshape(out // block, inner, height, width, block)
        return stored.permute(0, 4, 1, 2, 3).reshape(out, inner, height, width).contiguous()
    stored = weight.reshape(out // block, inner // block, height, width, block, block)
    return stored.permute(0, 5, 1, 4, 2, 3).reshape(out, inner, height, width).contiguous()
