"""Operators before a quantiser, against ONNX Runtime, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from robaudit.target.onnx import exact, import_onnx

CASES: list[tuple[str, tuple[int, ...], dict[str, Any], tuple[tuple[int, ...], ...]]] = [
    ("Erf", (1, 2003), {}, ()),
    ("Sigmoid", (1, 2003), {}, ()),
    ("HardSwish", (1, 2003), {}, ()),
    ("HardSigmoid", (1, 2003), {"alpha": 1 / 6}, ()),
    ("Softmax", (4, 197), {"axis": -1}, ()),
    ("Softmax", (2, 49, 6), {"axis": 1}, ()),
    ("LayerNormalization", (30, 48), {"epsilon": 1e-6}, ((48,), (48,))),
    ("LayerNormalization", (30, 192), {"epsilon": 1e-6}, ((192,), (192,))),
    ("InstanceNormalization", (1, 4, 14, 14), {}, ((4,), (4,))),
    ("InstanceNormalization", (1, 8, 5, 5), {}, ((8,), (8,))),
    ("BatchNormalization", (2, 16, 9), {}, ((16,), (16,), (16,), (16,))),
    ("GlobalAveragePool", (1, 60, 7, 7), {}, ()),
    ("GlobalAveragePool", (1, 60, 1, 3), {}, ()),
    ("ReduceMean", (1, 40, 14, 14), {"axes": [2, 3]}, ()),
    ("ReduceMean", (1, 40, 7, 7), {"axes": [2, 3]}, ()),
    ("ReduceMean", (1, 40, 1, 3), {"axes": [2, 3], "keepdims": 0}, ()),
    ("ReduceMean", (1, 49, 32), {"axes": [1]}, ()),
    ("ReduceL2", (1, 32, 8, 8), {"axes": [2, 3]}, ()),
]
SCALE = 0.01


def _model(
    op: str, shape: tuple[int, ...], attributes: dict[str, Any], constants: tuple[tuple[int, ...], ...]
) -> onnx.ModelProto:
    """The operator; a quantised copy of x beside it says that bits matter."""
    rng = np.random.default_rng(1)
    held = [
        numpy_helper.from_array(rng.random(size, dtype=np.float32) + 0.1, f"c{i}") for i, size in enumerate(constants)
    ]
    held += [
        numpy_helper.from_array(np.array(SCALE, np.float32), "s"),
        numpy_helper.from_array(np.array(0, np.int8), "z"),
    ]
    nodes = [
        helper.make_node(op, ["x", *(f"c{i}" for i in range(len(constants)))], ["y"], **attributes),
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "d")]
    graph = helper.make_graph(nodes, "g", [x], outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _expected(model: onnx.ModelProto, x: torch.Tensor) -> torch.Tensor:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["y"], {"x": x.numpy()})[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'x'.join(map(str, case[1]))}")
def test_equals_the_runtime(case: Any) -> None:
    model = _model(*case)
    x = 3 * torch.randn(case[1], generator=torch.Generator().manual_seed(2))
    found = import_onnx(model)(x)["y"]
    expected = _expected(model, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    if torch.backends.cpu.get_cpu_capability() == "AVX512":  # the runtime's kernels for others add in other orders
        assert torch.equal(found, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'x'.join(map(str, case[1]))}")
def test_keeps_the_gradient(case: Any) -> None:
    model = _model(*case)
    x = torch.randn(case[1], generator=torch.Generator().manual_seed(2)).requires_grad_()
    weights = torch.randn(_expected(model, x.detach()).shape, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad((import_onnx(model)(x)["y"] * weights).sum(), x)
    del model.graph.node[1:], model.graph.output[1:]  # without the quantiser it is torch's own operator
    (expected,) = torch.autograd.grad((import_onnx(model)(x)["y"] * weights).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_steps_are_fused() -> None:
    a = torch.full((5,), 1 + 2.0**-12)
    assert exact.fma(a, a, -1.0).tolist() == [2.0**-11 + 2.0**-24] * 5


def test_leaves_other_graphs_alone() -> None:
    model = _model(*CASES[0])
    del model.graph.node[1:], model.graph.output[1:]
    x = torch.randn(CASES[0][1])
    assert torch.equal(import_onnx(model)(x)["y"], torch.erf(x))
