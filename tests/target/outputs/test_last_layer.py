"""The last linear layer is cut where scores follow linearly from what it is given, and nowhere else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from target_kit import ready
from torch import Tensor, nn

from robaudit.target.outputs.last_layer import features_before
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.target import Target

INPUT = {"mean": (0.0,), "std": (1.0,), "layout": "nchw", "domain": (0.0, 1.0)}
RANDOM = np.random.default_rng(0)
ARRAYS = {
    "k": RANDOM.normal(size=(6, 2, 3, 3)), "w": RANDOM.normal(size=(5, 96)), "wt": RANDOM.normal(size=(96, 5)),
    "b": RANDOM.normal(size=5), "two": np.array(2.0), "head": RANDOM.normal(size=(5, 6, 1, 1)), "low": np.array(-1.0),
    "high": np.array(1.0), "six": RANDOM.normal(size=(5, 5)),
}  # fmt: skip
GEMM = ("Gemm", ["f", "w", "b"], "g", {"transB": 1})
ENDS = {
    "gemm": ([GEMM], "f"),
    "matmul": ([("MatMul", ["f", "wt"], "m", {}), ("Add", ["b", "m"], "g", {})], "f"),
    "transposed": ([("Transpose", ["w"], "t", {}), ("MatMul", ["f", "t"], "g", {})], "f"),
    "temperature": ([GEMM, ("Div", ["g", "two"], "h", {})], "f"),
    "softmax": ([GEMM, ("Softmax", ["g"], "p", {})], "f"),
    "convolution": (
        [("Conv", ["r", "head"], "c", {}), ("GlobalAveragePool", ["c"], "q", {}), ("Flatten", ["q"], "g", {})],
        "r",
    ),
    "two layers": ([GEMM, ("MatMul", ["g", "six"], "h", {})], "g"),
    "cap": ([GEMM, ("Clip", ["g", "low", "high"], "h", {})], None),
    "relu": ([GEMM, ("Relu", ["g"], "h", {})], None),
    "reciprocal": ([GEMM, ("Div", ["two", "g"], "h", {})], None),
    "scores times scores": ([GEMM, ("Mul", ["g", "g"], "h", {})], None),
}


def make(path: Path, end: str) -> onnx.ModelProto:
    """A convolution with a ReLU, flattened, and an end."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c0"]),
        helper.make_node("Relu", ["c0"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        *(helper.make_node(kind, given, [made], **more) for kind, given, made, more in ENDS[end][0]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in ARRAYS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


def check_linear(target: Target) -> None:
    """Four hundred points' logits are one affine function of their features, of which there are under a hundred."""
    features = target.features()
    assert features is not None
    u = torch.rand(400, *target.spec.shape, generator=torch.Generator().manual_seed(0), dtype=target.dtype)
    u.requires_grad_()
    found = features(u)
    (slope,) = torch.autograd.grad(found.sum(), u)
    assert bool(slope.any())
    rows = torch.cat([found.detach().double(), torch.ones(400, 1, dtype=torch.float64)], 1)
    logits = target.logits(u.detach()).detach().double()
    assert rows.shape[1] < 100
    made = torch.linalg.lstsq(rows, logits, driver="gelsd").solution
    torch.testing.assert_close(rows @ made, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("end", ENDS)
def test_onnx(tmp_path: Path, end: str) -> None:
    model = make(tmp_path / "m.onnx", end)
    expected = ENDS[end][1]
    if end != "softmax":  # which is peeled first
        assert features_before(Wiring(model), model.graph.output[0].name) == expected
    target, _ = ready(tmp_path / "m.onnx", mean=(0.0, 0.0), std=(1.0, 1.0), layout="nchw", domain=(0.0, 1.0))
    if expected is None:
        assert target.features() is None
    else:
        check_linear(target)


def test_a_linear_model_s_features_are_its_inputs(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(RANDOM.normal(size=(7, 3)).astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    target, u = ready(tmp_path / "m.onnx")
    features = target.features()
    assert features is not None
    torch.testing.assert_close(features(u), target.spec.to_file(u))


class Ends(nn.Module):
    def __init__(self, end: str) -> None:
        super().__init__()
        self.first, self.last, self.end = nn.Linear(9, 12), nn.Linear(12, 4), end

    def forward(self, x: Tensor) -> Tensor:
        z = self.last(torch.tanh(self.first(x.flatten(1))))
        if self.end == "softmax":
            return z.softmax(1)
        if self.end == "temperature":
            return z / 3.0 + 1.0
        if self.end == "cap":
            return z.clamp(-1.0, 1.0)
        return z


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize(("end", "found"), [("", True), ("softmax", True), ("temperature", True), ("cap", False)])
def test_torchscript(tmp_path: Path, end: str, found: bool, scripted: bool) -> None:
    from target_kit import complete

    from robaudit.target.inputs.spec import SpecOverrides
    from robaudit.target.load import open_target

    torch.manual_seed(0)
    module = Ends(end).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = torch.jit.script(module) if scripted else torch.jit.trace(module, torch.zeros(2, 1, 3, 3))
        made.save(str(tmp_path / "m.pt"))
    opened = open_target(tmp_path / "m.pt", overrides=SpecOverrides(INPUT), sample_shape=(1, 3, 3), device="cpu")
    u = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    target = complete(opened, u)
    if found:
        check_linear(target)
        features = target.features()
        assert features is not None
        assert features(u).shape == (6, 12)
    else:
        assert target.features() is None
