"""Distances spelt out as a Scan are one call; whatever only looks like them stays a Scan."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_graphs import answers, make_model

from robaudit.target.onnx import import_onnx

FLOAT = TensorProto.FLOAT
POINTS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


def scan(power: float | str, *, scaled: bool = False) -> onnx.ModelProto:
    """The y of a Scan over POINTS; x is its state."""
    nodes = [helper.make_node("Identity", ["kept"], ["same"]), helper.make_node("Sub", ["kept", "point"], ["d"])]
    last = "d"
    if power == "square":
        nodes.append(helper.make_node("ReduceSumSquare", ["d"], ["sum"], axes=[1], keepdims=0))
    else:
        nodes.append(helper.make_node("Abs", ["d"], ["a"]))
        last = "a"
        if power != 1:
            nodes.append(helper.make_node("Pow", ["a", "p"], ["powers"]))
            last = "powers"
        nodes.append(helper.make_node("ReduceSum", [last, "axis"], ["sum"], keepdims=0))
    nodes.append(helper.make_node("Add" if scaled else "Identity", ["sum", "sum"] if scaled else ["sum"], ["out"]))
    inputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("kept", "point")]
    outputs = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("same", "out")]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    node = helper.make_node("Scan", ["x", "points"], ["unused", "y"], body=body, num_scan_inputs=1)
    exponent = np.array(0.0 if isinstance(power, str) else power, np.float32)
    return make_model([node], ("N", 3), {"points": POINTS, "p": exponent, "axis": np.array([1])})


@pytest.mark.parametrize("power", ["square", 1, 3, 2.5])
def test_distances_are_one_call(power: float | str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    module = import_onnx(scan(power), "y")
    program = module.graph_module(x.shape)
    np.testing.assert_allclose(program(torch.from_numpy(x))[0].numpy(), answers(scan(power), x), 1e-5)
    assert sum(node.op.startswith("call") for node in program.graph.nodes) <= 3
    wide = torch.from_numpy(x).double().requires_grad_()
    double = module.double().graph_module(x.shape, torch.float64)
    assert torch.autograd.gradcheck(lambda v: double(v)[0], (wide,), atol=1e-6, rtol=1e-4)


def test_another_formula_stays_a_scan() -> None:
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    model = scan("square", scaled=True)
    program = import_onnx(model, "y").graph_module(x.shape)
    np.testing.assert_allclose(program(torch.from_numpy(x))[0].numpy(), answers(model, x), 1e-5)
    assert sum(node.op.startswith("call") for node in program.graph.nodes) > len(POINTS)
