"""Files optimised for this processor, against ONNX Runtime; skips loudly where it has no blocked convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import parser

from robaudit.target.onnx import import_onnx
from robaudit.target.onnx.nchwc import DOMAIN, block_size, unblocked

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N,3,17,19] x) => (float[N,10] y) {
  a = Conv<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x, w0, b0)
  low = Constant<value_float=0.0>() high = Constant<value_float=6.0>()
  a1 = Clip(a, low, high)
  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=32>(a1, w1, b1)
  d1 = Sigmoid(d)
  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d1)
  c = Conv<kernel_shape=[1,1]>(p, w2, b2)
  s = Add(c, p)
  r = Relu(s)
  q = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=2>(r, w3)
  l = LeakyRelu<alpha=0.2>(q)
  u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(l, none, four)
  v = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(u, none, two)
  e = Conv<kernel_shape=[3,3], strides=[5,7]>(v, w4, b4)
  g = GlobalAveragePool(e)
  f = Flatten(g)
  y = MatMul(f, w5)
}"""
SHAPES = {
    "w0": (32, 3, 3, 3),
    "b0": (32,),
    "w1": (32, 1, 3, 3),
    "b1": (32,),
    "w2": (32, 32, 1, 1),
    "b2": (32,),
    "w3": (32, 16, 3, 3),
    "w4": (20, 32, 3, 3),
    "b4": (20,),
    "w5": (20, 10),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, Path]:
    """The plain model, and the file that ONNX Runtime makes of it."""
    rng = np.random.default_rng(0)
    model = parser.parse_model(NET)
    for name, shape in SHAPES.items():
        values = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for name, factor in (("two", 2), ("four", 4)):
        values = np.array([1, 1, factor, factor], np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for node in model.graph.node:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    path = tmp_path_factory.mktemp("nchwc") / "all.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = [node.op_type for node in onnx.load(path).graph.node if node.domain == DOMAIN]
    assert not made or made.count("Upsample") == 2
    if not any(node.domain == DOMAIN for node in onnx.load(path).graph.node):
        pytest.skip("ONNX Runtime writes no blocked convolutions on this processor")
    return model, path


@pytest.mark.parametrize("batch", [1, 4])
def test_answers_and_gradients_are_those_of_the_plain_file(files: tuple[onnx.ModelProto, Path], batch: int) -> None:
    model, path = files
    optimised = onnx.load(path)
    assert sum(node.domain == DOMAIN for node in optimised.graph.node) >= 6
    plain, twin = import_onnx(model, "y"), import_onnx(optimised, "y")
    x = torch.randn(batch, 3, 17, 19, generator=torch.Generator().manual_seed(0), requires_grad=True)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(twin(x).detach(), session.run(None, {"x": x.detach().numpy()})[0], rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(module(x).square().sum(), x)[0] for module in (plain, twin)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)
    assert twin.batching == "direct"


def test_every_order_of_weights_is_undone(files: tuple[onnx.ModelProto, Path]) -> None:
    """Blocked and unblocked input channels, as the runtime stores them."""
    model, path = files
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    optimised = onnx.load(path)
    stored = {
        tensor.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(tensor)))
        for tensor in optimised.graph.initializer
    }
    seen = set()
    for node in optimised.graph.node:
        if node.domain == DOMAIN and node.op_type == "Conv":
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            found = unblocked(stored[node.input[1]], groups, block_size()).numpy()
            matches = [k for k, v in weights.items() if v.ndim == 4 and _same(found, v)]
            assert len(matches) == 1
            seen.update(matches)
    assert seen >= {"w0", "w1", "w2"}


def _same(found: np.ndarray, weight: np.ndarray) -> bool:
    out, inner = weight.shape[:2]
    return found.shape[2:] == weight.shape[2:] and found.shape[0] >= out and np.array_equal(found[:out, :inner], weight)
