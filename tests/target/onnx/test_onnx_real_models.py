"""Real classifiers: the twin's answers and gradients against ONNX Runtime on the file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import MODELS, runtime

from robaudit.target.onnx import coverage, import_onnx

NAMES = ["resnet_2b", "mnist_lenet5_cln", "mnist_lenet5_adv", "efficientnet_lite0"]


def load(name: str) -> onnx.ModelProto:
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path.name} is absent: real models were NOT checked")
    return onnx.load(path)


def inputs(model: onnx.ModelProto, count: int) -> np.ndarray:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(0).random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_twin_answers_as_the_file(name: str) -> None:
    model = load(name)
    assert coverage(model) == []
    x = inputs(model, 3)
    session = runtime(model)
    feed = model.graph.input[0].name
    expected = np.concatenate([session.run(None, {feed: x[i : i + 1]})[0] for i in range(len(x))])
    module = import_onnx(model, model.graph.output[0].name)
    with torch.no_grad():
        y = module(torch.from_numpy(x)).numpy()
    assert module.batching == "direct"
    assert module.cuts == []
    assert np.abs(y - expected).max() < 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(y.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_files_slope(name: str) -> None:
    """Central differences of ONNX Runtime along the gradient; wide steps for float32's sake, hence 3 %."""
    model = load(name)
    x = inputs(model, 1)
    session = runtime(model)
    feed = model.graph.input[0].name
    module = import_onnx(model, model.graph.output[0].name)
    value = torch.from_numpy(x).requires_grad_()
    logits = module(value)
    top = logits[0].topk(2).indices
    (logits[0, top[0]] - logits[0, top[1]]).backward()
    assert value.grad is not None
    slope = value.grad.numpy()
    direction = slope / np.linalg.norm(slope)

    def margin(at: np.ndarray) -> float:
        (answer,) = session.run(None, {feed: at.astype(np.float32)})
        return float(answer[0, top[0]]) - float(answer[0, top[1]])

    step = 1e-2
    measured = (margin(x + step * direction) - margin(x - step * direction)) / (2 * step)
    assert measured == pytest.approx(float(np.linalg.norm(slope)), rel=0.03)


def test_computed_padding_costs_nothing() -> None:
    """EfficientNet-Lite computes constant pads with 17 chains of eight nodes: none is left."""
    module = import_onnx(load("efficientnet_lite0"))
    called = [n for n in module.graph_module((1, 3, 224, 224)).graph.nodes if n.op.startswith("call")]
    convolutions = sum("conv2d" in str(n.target) for n in called)
    assert convolutions == 49
    assert len(called) < 110
