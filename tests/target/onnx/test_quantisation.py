"""Quantised operators and groups give ONNX Runtime's numbers, every one of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model

from robaudit.target.onnx import OnnxModule, import_onnx

FLOAT, UINT8, INT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT8
RNG = np.random.default_rng(0)


def whole(dtype: type, *shape: int) -> np.ndarray:
    """Any values; of signed ones 7 bits, as x86 processors without VNNI saturate sums of two larger products."""
    low, high = (0, 256) if dtype is np.uint8 else (-64, 64)
    return RNG.integers(low, high, shape).astype(dtype)


def scale(*shape: int, low: float = 0.01, high: float = 0.05) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def same(model: onnx.ModelProto, x: np.ndarray) -> OnnxModule:
    module = import_onnx(model, "y")
    with torch.no_grad():
        y = module(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(y, answers(model, x))
    return module


def operators(module: OnnxModule) -> Counter[str]:
    return Counter(node.op for node in module._graph.nodes)


@pytest.mark.parametrize("weight", [np.int8, np.uint8])
@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_quantised_convolutions_are_exact(weight: type, by_channel: bool, groups: int) -> None:
    shape = (8,) if by_channel else ()
    constants = {
        "xs": scale(),
        "xz": np.array(117, np.uint8),
        "w": whole(weight, 8, 16 // groups, 3, 3),
        "ws": scale(*shape),
        "wz": np.zeros(shape, weight) if weight is np.int8 else np.full(shape, 128, weight),
        "ys": np.array(4.0, np.float32),
        "yz": np.array(130, np.uint8),
        "b": RNG.integers(-30_000, 30_000, 8).astype(np.int32),
    }
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"], pads=[1, 1, 1, 1], strides=[2, 2], group=groups)
    same(
        make_model([node], ("N", 16, 14, 14), constants, dtype=UINT8, outputs={"y": UINT8}),
        whole(np.uint8, 5, 16, 14, 14),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantised_matrix_products_are_exact(dtype: type) -> None:
    constants = {
        "as": scale(),
        "az": np.array(3, dtype),
        "b": whole(np.int8, 300, 20),
        "bs": scale(20),
        "bz": np.zeros(20, np.int8),
        "ys": np.array(1.0, np.float32),
        "yz": np.array(17, dtype),
    }
    node = helper.make_node("QLinearMatMul", ["x", *constants], ["y"])
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    same(make_model([node], ("N", 7, 300), constants, dtype=code, outputs={"y": code}), whole(dtype, 4, 7, 300))


def test_sums_beyond_what_a_float_counts() -> None:
    """4,608 products of large numbers: sums of 2^27, of which float32 holds 24 bits."""
    constants = {
        "xs": np.array(1.0, np.float32),
        "xz": np.array(0, np.uint8),
        "w": RNG.integers(90, 256, (16, 512, 3, 3)).astype(np.uint8),
        "ws": scale(16, low=0.5, high=1.0),
        "wz": np.zeros(16, np.uint8),
        "ys": np.array(7e5, np.float32),
        "yz": np.array(0, np.uint8),
    }
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"])
    model = make_model([node], ("N", 512, 5, 5), constants, dtype=UINT8, outputs={"y": UINT8})
    same(model, RNG.integers(200, 256, (2, 512, 5, 5)).astype(np.uint8))


def quantised(name: str, values: str, position: int, constants: dict[str, np.ndarray], low: float, high: float) -> list:
    """QuantizeLinear and DequantizeLinear to uint8 for this range; the result is called ``name``."""
    size = np.float32((high - low) / 255)
    constants |= {f"{name}_s": size, f"{name}_z": np.array(round(-low / float(size)), np.uint8)}
    pair = [f"{name}_s", f"{name}_z"]
    return [
        helper.make_node("QuantizeLinear", [values, *pair], [f"{name}_q"], name=f"{name}.{position}"),
        helper.make_node("DequantizeLinear", [f"{name}_q", *pair], [name]),
    ]


def residual_block(activation: str = "Relu") -> onnx.ModelProto:
    """Two convolutions beside a way around them, pooling, a linear layer, softmax; all between quantisers."""
    constants: dict[str, np.ndarray] = {}
    nodes = quantised("a", "x", 0, constants, -2, 2)
    for i, (source, end) in enumerate((("a", activation), ("b", ""))):
        held = {
            f"w{i}": whole(np.int8, 8, 8, 3, 3),
            f"ws{i}": scale(8, low=0.0005, high=0.002),
            f"wz{i}": np.zeros(8, np.int8),
            f"bias{i}": RNG.integers(-9000, 9000, 8).astype(np.int32),
        }
        source_scale = constants[f"{source}_s"]
        held |= {f"bs{i}": held[f"ws{i}"] * source_scale, f"bz{i}": np.zeros(8, np.int32)}
        constants |= held
        nodes += [
            helper.make_node("DequantizeLinear", [f"w{i}", f"ws{i}", f"wz{i}"], [f"real{i}"], axis=0),
            helper.make_node("DequantizeLinear", [f"bias{i}", f"bs{i}", f"bz{i}"], [f"rb{i}"], axis=0),
            helper.make_node("Conv", [source, f"real{i}", f"rb{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
        ]
        if end == "Clip":
            constants |= {"lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}
        if end:
            nodes.append(helper.make_node(end, [f"c{i}", *(["lo", "hi"] if end == "Clip" else [])], [f"e{i}"]))
        low, high, name = (0.0, 5.0, "b") if end else (-6.0, 6.0, "c")
        nodes += quantised(name, f"e{i}" if end else f"c{i}", i + 1, constants, low, high)
    constants |= {"v": whole(np.int8, 8, 10), "vs": np.array(0.02, np.float32), "vz": np.array(0, np.int8)}
    nodes += [
        helper.make_node("Add", ["a", "c"], ["d"]),
        *quantised("e", "d", 3, constants, -6, 6),
        helper.make_node("GlobalAveragePool", ["e"], ["g"]),
        *quantised("h", "g", 4, constants, -1, 1),
        helper.make_node("Flatten", ["h"], ["f"]),
        *quantised("i", "f", 5, constants, -1, 1),
        helper.make_node("DequantizeLinear", ["v", "vs", "vz"], ["vr"]),
        helper.make_node("MatMul", ["i", "vr"], ["m"]),
        *quantised("j", "m", 6, constants, -5, 5),
        helper.make_node("Softmax", ["j"], ["p"]),
        *quantised("k", "p", 7, constants, 0, 1),
        helper.make_node("Mul", ["k", "j"], ["n"]),
        *quantised("y", "n", 8, constants, -2, 2),
    ]
    constants = {name: np.asarray(value) for name, value in constants.items()}
    return make_model(nodes, ("N", 8, 9, 9), constants, opset=17)


@pytest.mark.parametrize("activation", ["Relu", "Clip", ""])
def test_groups_between_quantisers_are_exact(activation: str) -> None:
    model = residual_block(activation or "Relu")
    if not activation:  # a step whose kink lies inside of the quantiser's range stays a float
        relu = next(node for node in model.graph.node if node.op_type == "Relu")
        relu.op_type = "Softplus"
    module = import_onnx(model, "y")
    found = operators(module)
    exact = {"QLinearConv": 2, "QLinearAdd": 1, "QLinearGlobalAveragePool": 1, "QLinearMatMul": 1}
    exact |= {"QLinearSoftmax": 1, "QLinearMul": 1}
    if activation:
        assert not {"Conv", "Add", "MatMul", "Mul", "Relu", "Clip", "Softmax"} & found.keys()
        assert exact.items() <= found.items()
        same(model, RNG.uniform(-2.2, 2.2, (6, 8, 9, 9)).astype(np.float32))
    else:
        assert (found["QLinearConv"], found["Conv"], found["Softplus"]) == (1, 1, 1)
    assert len(module.cuts) == 8, "nine quantisers, one of which repeats another after a Flatten"
    assert {cut.op for cut in module.cuts} == {"QuantizeLinear"}, "by the names that the file has"


def test_a_bias_in_other_units_stays_a_float() -> None:
    model = residual_block()
    bias = next(t for t in model.graph.initializer if t.name == "bs0")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) * 2, "bs0"))
    assert operators(import_onnx(model, "y"))["Conv"] == 1


def test_sixteen_bits_are_not_brought_to_integers() -> None:
    constants = {"s": np.array(2e-4, np.float32), "z": np.array(32768, np.uint16)}
    pair = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *pair], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *pair], ["r"]),
        helper.make_node("Mul", ["r", "r"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", *pair], ["n"]),
        helper.make_node("DequantizeLinear", ["n", *pair], ["y"]),
    ]
    model = make_model(nodes, ("N", 3), constants, opset=21)
    module = same(model, RNG.uniform(-7, 7, (50, 3)).astype(np.float32))
    assert operators(module)["Mul"] == 1


def test_weights_quantised_in_the_graph_are_integers_too() -> None:
    """As files from quantisation-aware training have it."""
    constants: dict[str, np.ndarray] = {}
    nodes = quantised("a", "x", 0, constants, -2, 2)
    constants |= {"w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32), "ws": scale(4), "wz": np.zeros(4, np.int8)}
    nodes += [
        helper.make_node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wr"], axis=0),
        helper.make_node("Conv", ["a", "wr"], ["c"]),
        *quantised("y", "c", 1, constants, -9, 9),
    ]
    model = make_model(nodes, ("N", 3, 8, 8), {k: np.asarray(v) for k, v in constants.items()}, opset=17)
    module = same(model, RNG.uniform(-2, 2, (4, 3, 8, 8)).astype(np.float32))
    assert operators(module)["QLinearConv"] == 1


def test_a_value_read_twice_stays_a_float() -> None:
    constants: dict[str, np.ndarray] = {}
    nodes = [
        *quantised("a", "x", 0, constants, -2, 2),
        helper.make_node("Mul", ["a", "a"], ["m"]),
        *quantised("b", "m", 1, constants, 0, 4),
        helper.make_node("Add", ["b", "m"], ["y"]),
    ]
    model = make_model(nodes, ("N", 6), {k: np.asarray(v) for k, v in constants.items()}, opset=17)
    module = same(model, RNG.uniform(-2, 2, (40, 6)).astype(np.float32))
    assert operators(module)["Mul"] == 1


def test_integer_products_are_exact_and_dynamic_quantisers_are_each_samples_own() -> None:
    constants = {"w": whole(np.int8, 40, 12), "wz": whole(np.int8, 12), "k": np.array(0.01, np.float32)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    model = make_model(nodes, ("N", 40), constants)
    module = import_onnx(model, "y")
    x = RNG.standard_normal((5, 40)).astype(np.float32) * np.array([[1], [5], [0], [0.1], [9]], np.float32)
    with torch.no_grad():
        together = module(torch.from_numpy(x)).numpy()
    assert module.batching == "vmap"
    alone = np.concatenate([answers(model, x[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalAveragePool", {}),
        ("Sigmoid", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Softmax", {"axis": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operators_of_one_input_between_quantisers(op: str, attributes: dict[str, object]) -> None:
    constants: dict[str, np.ndarray] = {}
    nodes = [
        *quantised("a", "x", 0, constants, -3, 3),
        helper.make_node(op, ["a"], ["m"], **attributes),
        *quantised("y", "m", 1, constants, -1 if op != "Softmax" else 0, 1),
    ]
    model = make_model(nodes, ("N", 12, 6, 6), {k: np.asarray(v) for k, v in constants.items()}, opset=17)
    module = same(model, RNG.uniform(-3.2, 3.2, (5, 12, 6, 6)).astype(np.float32))
    assert operators(module)[f"QLinear{op}"] == 1


@pytest.mark.parametrize("transposed", [0, 1])
def test_linear_layers_between_quantisers(transposed: int) -> None:
    constants: dict[str, np.ndarray] = {}
    nodes = quantised("a", "x", 0, constants, -2, 2)
    shape = (16, 50) if transposed else (50, 16)
    constants |= {"w": whole(np.int8, *shape), "ws": scale(16, low=0.001), "wz": np.zeros(16, np.int8)}
    constants |= {"b": RNG.integers(-9000, 9000, 16).astype(np.int32), "bz": np.zeros(16, np.int32)}
    constants["bs"] = constants["ws"] * constants["a_s"]
    nodes += [
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"], axis=0 if transposed else 1),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["br"], axis=0),
        helper.make_node("Gemm", ["a", "wr", "br"], ["m"], transB=transposed),
        *quantised("y", "m", 1, constants, -30, 30),
    ]
    model = make_model(nodes, ("N", 50), {k: np.asarray(v) for k, v in constants.items()}, opset=17)
    module = same(model, RNG.uniform(-2.2, 2.2, (30, 50)).astype(np.float32))
    assert operators(module)["QGemm"] == 1


@pytest.mark.parametrize(("factor", "left"), [(1.0, 1), (1.5, 3)])
def test_a_quantiser_of_what_is_quantised_already_goes(factor: float, left: int) -> None:
    """Two halves of a transposed value: quantised again by the same scale, and by another."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Split", ["t"], ["a", "b"], axis=1),
        helper.make_node("QuantizeLinear", ["a", "again", "z"], ["qa"]),
        helper.make_node("QuantizeLinear", ["b", "again", "z"], ["qb"]),
        helper.make_node("DequantizeLinear", ["qa", "again", "z"], ["da"]),
        helper.make_node("DequantizeLinear", ["qb", "again", "z"], ["db"]),
        helper.make_node("Sub", ["da", "db"], ["y"]),
    ]
    step = scale()
    constants = {"s": step, "again": step * np.float32(factor), "z": np.array(121, np.uint8)}
    x = np.random.default_rng(0).normal(0, 3 * float(step) * 100, (2, 4, 6)).astype(np.float32)
    module = same(make_model(nodes, ("N", 4, 6), constants), x)
    assert operators(module)["QuantizeLinear"] == left
