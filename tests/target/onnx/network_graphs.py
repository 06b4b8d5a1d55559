"""A small network of each kind: convolutions, a transformer, quantised ones, preprocessing, choices by the data."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx_graphs import make_model

RNG = np.random.default_rng(21)
IMAGE = (2, 3, 8, 8)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def convolutional() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Clip", ["n", "low", "high"], ["k"]),
        helper.make_node("MaxPool", ["k"], ["p"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("BatchNormalization", ["p", "g", "b", "m", "v"], ["q"]),
        helper.make_node("AveragePool", ["q"], ["a"], kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1),
        helper.make_node("GlobalAveragePool", ["a"], ["o"]),
        helper.make_node("Shape", ["o"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["t"]),
        helper.make_node("Reshape", ["o", "t"], ["r"]),
        helper.make_node("Gemm", ["r", "l"], ["y"]),
    ]
    held = {"w": f(4, 3, 3, 3), **{name: f(4) for name in "gbm"}, "v": np.abs(f(4)) + 1, "l": f(4, 5)}
    held |= {"low": np.float32(0), "high": np.float32(6), "zero": i(0), "two": i(2)}
    return make_model(nodes, ("N", *IMAGE[1:]), held)


def transformer() -> onnx.ModelProto:
    """A class token, one attention and one mixing layer, as spelled out."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "patch"], ["c"], strides=[4, 4]),
        node("Reshape", ["c", "flat"], ["f"]),
        node("Transpose", ["f"], ["rows"], perm=[0, 2, 1]),
        node("Shape", ["rows"], ["dims"]),
        node("Gather", ["dims", "first"], ["n"], axis=0),
        node("Concat", ["n", "one_token"], ["to"], axis=0),
        node("Expand", ["token", "to"], ["tokens"]),
        node("Concat", ["tokens", "rows"], ["t"], axis=1),
        node("ReduceMean", ["t"], ["mean"], axes=[-1]),
        node("Sub", ["t", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["e"]),
        node("ReduceMean", ["e"], ["var"], axes=[-1]),
        node("Add", ["var", "eps"], ["var1"]),
        node("Sqrt", ["var1"], ["root"]),
        node("Div", ["d", "root"], ["normed"]),
        *(node("MatMul", ["normed", f"w{name}"], [name]) for name in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["qk"]),
        node("Mul", ["qk", "scale"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["o"]),
        node("Add", ["o", "t"], ["r"]),
        node("Erf", ["r"], ["g1"]),
        node("Gather", ["r", "zero"], ["y"], axis=1),
    ]
    held = {"patch": f(6, 3, 4, 4), "token": f(1, 1, 6), "flat": i(0, 6, -1), "first": i(0), "one_token": i(1, 6)}
    held |= {f"w{name}": f(6, 6) for name in "qkv"}
    held |= {"two": np.float32(2), "eps": np.float32(1e-6), "scale": np.float32(0.4), "zero": np.array(0)}
    return make_model(nodes, ("N", *IMAGE[1:]), held)


def quantised() -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "s", "z"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["y"]),
    ]
    held = {"s": np.float32(0.05), "z": np.array(120, np.uint8), "ws": np.abs(f(4)) + 0.1, "wz": np.zeros(4, np.int8)}
    held["w"] = RNG.integers(-90, 90, (4, 3, 3, 3)).astype(np.int8)
    return make_model(nodes, ("N", *IMAGE[1:]), held, opset=13)


def quantised_operators() -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "s", "z"], ["y"]),
    ]
    held = {"s": np.float32(0.05), "z": np.array(120, np.uint8), "ws": np.abs(f(4)) + 0.1, "wz": np.zeros(4, np.int8)}
    held["w"] = RNG.integers(-90, 90, (4, 3, 3, 3)).astype(np.int8)
    return make_model(nodes, ("N", *IMAGE[1:]), held, opset=13)


def dynamically_quantised() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["c"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "s"], ["y"]),
    ]
    return make_model(nodes, (1, *IMAGE[1:]), {"w": RNG.integers(-9, 9, (8, 4)).astype(np.int8)}, opset=13)


def preprocessing() -> onnx.ModelProto:
    """Pixels as NHWC, resized, standardised, turned."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["t", "", "", "size"], ["r"], mode="cubic", antialias=1),
        helper.make_node("Sub", ["r", "mean"], ["d"]),
        helper.make_node("Div", ["d", "std"], ["n"]),
        helper.make_node("Resize", ["n", "", "scales"], ["u"], mode="linear"),
        helper.make_node("Conv", ["u", "w"], ["y"]),
    ]
    held = {"size": i(2, 3, 5, 6), "mean": f(1, 3, 1, 1), "std": np.abs(f(1, 3, 1, 1)) + 1, "w": f(4, 3, 3, 3)}
    held["scales"] = np.array([1, 1, 1.5, 2], np.float32)
    return make_model(nodes, (2, 8, 8, 3), held, opset=18)


def masked() -> onnx.ModelProto:
    """Comparisons, choices and indices that come from the data."""
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["m"]),
        helper.make_node("Where", ["m", "x", "low"], ["h"]),
        helper.make_node("TopK", ["h", "k"], ["v", "at"], axis=-1),
        helper.make_node("GatherElements", ["x", "at"], ["g"], axis=3),
        helper.make_node("CumSum", ["g", "axis"], ["y"]),
    ]
    held = {"zero": np.float32(0), "low": np.float32(-1), "k": i(3), "axis": np.array(3)}
    return make_model(nodes, ("N", *IMAGE[1:]), held)
