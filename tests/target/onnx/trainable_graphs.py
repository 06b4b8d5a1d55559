"""Graphs of one layer of each kind, with what of them is a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper
from onnx_graphs import make_model

RNG = np.random.default_rng(4)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """A graph from ``x`` to ``y``, and the shapes of its weights by the names of the constants that hold them."""

    name: str
    model: onnx.ModelProto
    shape: tuple[int, ...]
    weights: dict[str, tuple[int, ...]]
    statistics: int = 0


def case(
    name: str,
    shape: tuple[int, ...],
    nodes: list[onnx.NodeProto],
    held: dict[str, np.ndarray],
    weights: str,
    statistics: int = 0,
    opset: int = 17,
    domains: dict[str, int] | None = None,
) -> Case:
    model = make_model(nodes, ("N", *shape[1:]), held, opset=opset, domains=domains)
    return Case(name, model, shape, {w: held[w].shape for w in weights.split()}, statistics)


node = helper.make_node
IMAGE, ROWS = (3, 2, 6, 6), (3, 5)

CASES = [
    case("convolution", IMAGE, [node("Conv", ["x", "w", "b"], ["y"])], {"w": f(4, 2, 3, 3), "b": f(4)}, "w b"),
    case(
        "transposed convolution",
        IMAGE,
        [node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2])],
        {"w": f(2, 4, 3, 3), "b": f(4)},
        "w b",
    ),
    case(
        "product as it is",
        (3, 4, 5),
        [node("MatMul", ["w", "x"], ["h"]), node("Flatten", ["h"], ["y"])],
        {"w": f(3, 4)},
        "w",
    ),
    case(
        "long short-term memory",
        (7, 3, 5),
        [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("LSTM", ["t", "w", "r", "b"], ["y"], hidden_size=4)],
        {"w": f(1, 16, 5), "r": f(1, 16, 4), "b": f(1, 32)},
        "w r b",
    ),
    case(
        "gated recurrent unit",
        (7, 3, 5),
        [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("GRU", ["t", "w", "r", "b"], ["y"], hidden_size=4)],
        {"w": f(1, 12, 5), "r": f(1, 12, 4), "b": f(1, 24)},
        "w r b",
    ),
    case(
        "layer norm",
        (3, 4, 5),
        [node("MatMul", ["x", "w"], ["h"]), node("LayerNormalization", ["h", "g", "b"], ["y"])],
        {"w": f(1, 5, 6), "g": f(6), "b": f(6)},
        "w g b",
    ),
    case(
        "batch norm",
        IMAGE,
        [node("Conv", ["x", "w"], ["h"]), node("BatchNormalization", ["h", "g", "b", "m", "v"], ["y"])],
        {"w": f(4, 2, 3, 3), "g": f(4), "b": f(4), "m": f(4), "v": np.abs(f(4)) + 1},
        "w g b",
        statistics=2,
    ),
    case(
        "slopes, a place, a token, a factor a channel",
        (3, 4, 5),
        [
            node("MatMul", ["x", "w"], ["h"]),
            node("PRelu", ["h", "s"], ["p"]),
            node("Add", ["p", "place"], ["a"]),
            node("Mul", ["factor", "a"], ["m"]),
            node("Shape", ["x"], ["size"], end=1),
            node("Concat", ["size", "rest"], ["to"], axis=0),
            node("Expand", ["token", "to"], ["tokens"]),
            node("Concat", ["tokens", "m"], ["y"], axis=1),
        ],
        {"w": f(1, 5, 6), "s": f(6), "place": f(1, 4, 6), "factor": f(6), "token": f(1, 1, 6), "rest": i(1, 6)},
        "w s place factor token",
    ),
    case(
        "merged operators",
        IMAGE,
        [
            node("FusedConv", ["x", "w", "b"], ["h"], domain="com.microsoft", activation="Relu"),
            node("Flatten", ["h"], ["r"]),
            node("FusedMatMul", ["r", "l"], ["p"], domain="com.microsoft", alpha=0.5),
            node("BiasGelu", ["p", "c"], ["y"], domain="com.microsoft"),
        ],
        {"w": f(4, 2, 3, 3), "b": f(4), "l": f(64, 5), "c": f(5)},
        "w b l c",
        domains={"com.microsoft": 1},
    ),
    case(
        "what stays",  # preparation of the input, amounts of a formula, a mask
        IMAGE,
        [
            node("Mul", ["x", "unit"], ["scaled"]),
            node("Sub", ["scaled", "mean"], ["centred"]),
            node("Div", ["centred", "deviation"], ["ready"]),
            node("Conv", ["ready", "w"], ["h"]),
            node("Mul", ["h", "half"], ["m"]),
            node("Clip", ["m", "low", "high"], ["c"]),
            node("Add", ["c", "mask"], ["a"]),
            node("Softmax", ["a"], ["s"]),
            node("Reshape", ["s", "rows"], ["y"]),
        ],
        {
            "unit": np.full((1, 2, 1, 1), 1 / 255, np.float32),
            "mean": f(1, 2, 1, 1),
            "deviation": np.abs(f(1, 2, 1, 1)) + 1,
            "w": f(4, 2, 3, 3),
            "half": np.float32(0.5),
            "low": np.float32(0),
            "high": np.float32(6),
            "mask": np.where(np.arange(4) < 3, 0, -100).astype(np.float32),
            "rows": i(0, -1),
        },
        "w",
    ),
]


def general_product(*, turned: bool) -> onnx.ModelProto:
    """A Gemm, whose matrix is turned at import, and a MatMul with what is added after it."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], transB=int(turned)),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["p"]),
        node("Add", ["p", "c"], ["y"]),
    ]
    return make_model(nodes, ("N", 5), {"w": f(6, 5) if turned else f(5, 6), "b": f(6), "v": f(6, 4), "c": f(4)})


def quantised(*, operators: bool = False) -> onnx.ModelProto:
    """A convolution on bytes whose result cannot be negative, and a mean; by quantisers, or by its own operator."""
    held = {
        "s": np.float32(0.05),
        "z": np.array(0, np.uint8),
        "ws": (np.abs(f(4)) + 0.5) / 400,
        "wz": np.zeros(4, np.int8),
    }
    held |= {"w": RNG.integers(-90, 90, (4, 2, 3, 3)).astype(np.int8), "bias": RNG.integers(-9, 9, 4).astype(np.int32)}
    held["bs"] = held["s"] * held["ws"]
    first = [node("QuantizeLinear", ["x", "s", "z"], ["q"])]
    if operators:
        middle = [node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "bias"], ["qc"])]
    else:
        middle = [
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
            node("DequantizeLinear", ["bias", "bs"], ["bd"], axis=0),
            node("Conv", ["d", "wd", "bd"], ["c"]),
            node("QuantizeLinear", ["c", "s", "z"], ["qc"]),
        ]
    last = [
        node("DequantizeLinear", ["qc", "s", "z"], ["e"]),
        node("GlobalAveragePool", ["e"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    used = {name: value for name, value in held.items() if name != "bs" or not operators}
    return make_model([*first, *middle, *last], ("N", *IMAGE[1:]), used, opset=13)


def deep(layers: int = 10, *, batch: int | str = "N", other_norm: bool = False) -> onnx.ModelProto:
    """Convolutions and rectifiers in a row; a fixed batch is written into the shapes as well."""
    nodes, held, last = [], {}, "x"
    for k in range(layers):
        held |= {f"w{k}": f(4, 2 if k == 0 else 4, 3, 3), f"b{k}": f(4)}
        nodes += [node("Conv", [last, f"w{k}", f"b{k}"], [f"c{k}"], pads=[1] * 4), node("Relu", [f"c{k}"], [f"r{k}"])]
        last = f"r{k}"
    if other_norm:
        nodes.append(node("InstanceNormalization", [last, "g", "h"], ["n"]))
        held |= {"g": f(4), "h": f(4)}
        last = "n"
    first = 0 if batch == "N" else 1
    nodes += [node("Reshape", [last, "rows"], ["f"]), node("Gemm", ["f", "l"], ["y"])]
    held |= {"rows": i(first, 4 * 36), "l": f(4 * 36, 3)}
    return make_model(nodes, (batch, *IMAGE[1:]), held)
