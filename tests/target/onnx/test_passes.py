"""What is multiplied into weights at import: values and gradients stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model

from robaudit.target.onnx import import_onnx

RNG = np.random.default_rng(5)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def calls(model: onnx.ModelProto, x: np.ndarray) -> list[str]:
    """What the program calls, after its answers were compared with ONNX Runtime's."""
    module = import_onnx(model, "y")
    found = module(torch.from_numpy(x)).numpy()
    expected = answers(model, x, optimise=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    program = module.graph_module(x.shape)
    return [node.target.__name__ for node in program.graph.nodes if node.op == "call_function"]


def after_conv(op: str, value: np.ndarray, *, first: bool = False, bias: bool = True) -> onnx.ModelProto:
    held = {"w": f(4, 3, 3, 3), "k": value} | ({"b": f(4)} if bias else {})
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["k", "c"] if first else ["c", "k"], ["y"]),
    ]
    return make_model(nodes, ("N", 3, 5, 5), held)


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (), (1,)])
@pytest.mark.parametrize("op", ["Mul", "Div", "Add", "Sub"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_number_a_channel_goes_into_the_convolution(op: str, shape: tuple[int, ...], bias: bool) -> None:
    assert calls(after_conv(op, f(*shape) + np.float32(2), bias=bias), f(2, 3, 5, 5)) == ["conv2d"]


@pytest.mark.parametrize(("op", "first"), [("Mul", True), ("Add", True)])
def test_the_order_of_operands_does_not_matter(op: str, first: bool) -> None:
    assert calls(after_conv(op, f(4, 1, 1), first=first), f(2, 3, 5, 5)) == ["conv2d"]


@pytest.mark.parametrize(
    ("op", "shape", "first"),
    [("Mul", (5,), False), ("Add", (4, 5, 5), False), ("Div", (4, 1, 1), True), ("Sub", (4, 1, 1), True)],
)
def test_other_constants_stay(op: str, shape: tuple[int, ...], first: bool) -> None:
    assert len(calls(after_conv(op, f(*shape) + np.float32(2), first=first), f(2, 3, 5, 5))) == 2


def test_a_factor_and_a_sum_after_a_linear() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["i"]),
        helper.make_node("Mul", ["i", "gamma"], ["j"]),
        helper.make_node("Add", ["j", "beta"], ["y"]),
    ]
    held = {"w": f(6, 4), "b": f(4), "gamma": f(4), "beta": f(4)}
    assert calls(make_model(nodes, ("N", 3, 6), held), f(2, 3, 6)) == ["linear"]


def test_a_value_that_others_read_is_not_scaled() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "gamma"], ["j"]),
        helper.make_node("Add", ["j", "h"], ["y"]),
    ]
    assert calls(make_model(nodes, ("N", 6), {"w": f(6, 4), "gamma": f(4)}), f(2, 6)) == ["linear", "mul", "add"]


def normed(pads: int, group: int) -> onnx.ModelProto:
    held = {**{name: f(4) for name in "gbm"}, "v": np.abs(f(4)) + 0.5, "w": f(6, 4 // group, 3, 3), "d": f(6)}
    nodes = [
        helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Conv", ["n", "w", "d"], ["y"], pads=[pads] * 4, group=group),
    ]
    return make_model(nodes, ("N", 4, 6, 6), held)


@pytest.mark.parametrize("group", [1, 2])
def test_a_batch_norm_goes_into_the_convolution_after_it(group: int) -> None:
    assert calls(normed(0, group), f(2, 4, 6, 6)) == ["conv2d"]


def test_a_batch_norm_before_padding_stays() -> None:
    assert calls(normed(1, 1), f(2, 4, 6, 6)) == ["batch_norm", "conv2d"]


def test_half_precision_keeps_its_roundings() -> None:
    half = onnx.TensorProto.FLOAT16
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Mul", ["h", "gamma"], ["y"])]
    held = {"w": f(6, 4).astype(np.float16), "gamma": f(4).astype(np.float16)}
    model = make_model(nodes, ("N", 6), held, dtype=half, outputs={"y": half})
    program = import_onnx(model, "y").graph_module((2, 6), torch.float16)
    assert [n.target.__name__ for n in program.graph.nodes if n.op == "call_function"] == ["linear", "mul"]
