"""Models of one standard operator whose inputs, as many as carry data, are all cut out of one vector x."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from gradient_case import GradientCase
from onnx import TensorProto, helper

NEWEST = 23
"""The newest opset that ONNX Runtime supports in full."""


@dataclass(frozen=True)
class Data:
    """An input that depends on x; its numbers lie between ``low`` and ``high``."""

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0


def data(*shape: int, low: float = -1.0, high: float = 1.0) -> Data:
    return Data(shape, low, high)


def positive(*shape: int) -> Data:
    return Data(shape, 0.5, 1.5)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def scalar(value: float, dtype: type[np.generic] = np.float32) -> np.ndarray:
    return np.array(value, dtype=dtype)


def case(
    op: str,
    *inputs: Data | np.ndarray | None,
    opset: int = 17,
    outputs: Sequence[int] = (0,),
    unread: int = 0,
    seed: int = 0,
    domain: str = "",
    **attributes: Any,
) -> GradientCase:
    """The case of an operator; its float ``outputs``, flattened and joined, are y; ``unread`` ones come after."""
    random = np.random.default_rng(seed)
    names, nodes, held, parts = [], [], {}, []
    at = 0
    for i, value in enumerate(inputs):
        if value is None:
            names.append("")
        elif isinstance(value, np.ndarray):
            names.append(f"c{i}")
            held[f"c{i}"] = value
        else:
            size = math.prod(value.shape)
            nodes += _cut(i, at, size, opset, held)
            held[f"shape{i}"] = np.array(value.shape, dtype=np.int64)
            nodes.append(helper.make_node("Reshape", [f"flat{i}", f"shape{i}"], [f"d{i}"]))
            names.append(f"d{i}")
            parts.append(random.uniform(value.low, value.high, size))
            at += size
    made = [f"o{i}" if i in outputs else "" for i in range(max(outputs) + 1)] + ["unread"] * unread
    nodes.append(helper.make_node(op, names, made, "tested", domain=domain, **attributes))
    held["all"] = ints(-1)
    read = [f"o{i}" for i in outputs]
    nodes += [helper.make_node("Reshape", [name, "all"], [f"{name}_flat"]) for name in read]
    nodes.append(helper.make_node("Concat", [f"{name}_flat" for name in read], ["y"], axis=0))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [at])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return GradientCase(op, model, np.concatenate(parts), domain)


def _cut(i: int, at: int, size: int, opset: int, held: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    if opset < 10:
        return [helper.make_node("Slice", ["x"], [f"flat{i}"], starts=[at], ends=[at + size])]
    held[f"from{i}"], held[f"to{i}"] = ints(at), ints(at + size)
    return [helper.make_node("Slice", ["x", f"from{i}", f"to{i}"], [f"flat{i}"])]
