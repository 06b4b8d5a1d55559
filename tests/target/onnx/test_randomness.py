"""Operators that draw: each run anew, by the file's own distribution, with the gradient of what they are added to."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import make_model

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.files.onnx.operators import drawing_operators
from robaudit.target.onnx import OnnxModule, import_onnx

FLOAT = onnx.TensorProto.FLOAT
NODE = helper.make_node
X = torch.rand(4, 2000, generator=torch.Generator().manual_seed(0))


def twin(*nodes: onnx.NodeProto, **constants: np.ndarray) -> OnnxModule:
    return import_onnx(make_model(list(nodes), ("n", 2000), constants), "y")


def added(draw: onnx.NodeProto) -> OnnxModule:
    return twin(draw, NODE("Add", ["x", "r"], ["y"]))


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (NODE("RandomNormalLike", ["x"], ["r"], mean=0.5, scale=2.0), 0.5, 2.0),
        (NODE("RandomUniformLike", ["x"], ["r"], low=-1.0, high=3.0), 1.0, 4 / 12**0.5),
        (NODE("RandomNormal", [], ["r"], mean=-1.0, scale=0.5, shape=[1, 2000]), -1.0, 0.5),
        (NODE("RandomUniform", [], ["r"], low=2.0, high=4.0, shape=[2000]), 3.0, 2 / 12**0.5),
    ],
)
def test_draws_have_their_distribution_and_are_new_each_time(
    draw: onnx.NodeProto, mean: float, deviation: float
) -> None:
    module = added(draw)
    torch.manual_seed(0)
    first, second = module(X) - X, module(X) - X
    assert not torch.equal(first, second)
    for drawn in (first, second):
        assert float(drawn.mean()) == pytest.approx(mean, abs=0.15 * deviation)
        assert float(drawn.std()) == pytest.approx(deviation, rel=0.1)
    point = X.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(module(point).sum(), point)[0], torch.ones_like(X))
    still = module.without_draws()
    assert still is not None
    torch.testing.assert_close(still(X) - X, torch.full_like(X, mean), rtol=0, atol=1e-5)


def test_noise_on_constants_is_drawn_anew() -> None:
    """As in a Bayesian network, whose weights are drawn."""
    w = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    module = twin(
        NODE("RandomNormalLike", ["w"], ["n"], scale=0.1),
        NODE("Add", ["w", "n"], ["drawn"]),
        NODE("MatMul", ["x", "drawn"], ["y"]),
        w=w,
    )
    assert not torch.equal(module(X), module(X))
    assert module.cuts == []


def test_bernoulli_and_a_dropout_that_stays_on() -> None:
    module = twin(NODE("Bernoulli", ["x"], ["b"]), NODE("Mul", ["b", "x"], ["y"]))
    torch.manual_seed(1)  # another than that of X
    kept = (module(X) != 0).float().mean()
    assert float(kept) == pytest.approx(float(X.mean()), abs=0.02)
    on, ratio = np.bool_(True), np.float32(0.25)
    dropped = twin(NODE("Dropout", ["x", "ratio", "on"], ["y"]), ratio=ratio, on=on)
    shares = dropped(X) / X
    assert torch.isclose(shares, torch.tensor(1 / 0.75), atol=1e-4).logical_or(shares == 0).all()
    assert float((shares == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    off = twin(NODE("Dropout", ["x", "ratio", "off"], ["y"]), ratio=ratio, off=np.bool_(False))
    assert torch.equal(off(X), X)


def test_what_draws_is_named_as_in_the_file() -> None:
    nodes = [
        NODE("RandomNormalLike", ["x"], ["r"], name="noise"),
        NODE("Dropout", ["r", "ratio", "on"], ["d"], name="drop"),
        NODE("Dropout", ["d", "ratio", "off"], ["y"], name="kept"),
    ]
    constants = {"ratio": np.float32(0.5), "on": np.bool_(True), "off": np.bool_(False)}
    assert drawing_operators(make_model(nodes, ("n", 4), constants)) == ("RandomNormalLike (noise)", "Dropout (drop)")


def test_a_dropout_that_the_input_switches_is_refused() -> None:
    nodes = [
        NODE("Greater", ["x", "half"], ["above"]),
        NODE("Cast", ["above"], ["number"], to=FLOAT),
        NODE("ReduceMax", ["number"], ["most"], keepdims=0),
        NODE("Cast", ["most"], ["on"], to=onnx.TensorProto.BOOL),
        NODE("Dropout", ["x", "ratio", "on"], ["y"]),
    ]
    model = make_model(nodes, ("n", 4), {"half": np.float32(0.5), "ratio": np.float32(0.5)})
    with pytest.raises(UnsupportedOperatorError, match="training mode that the input decides"):
        import_onnx(model, "y")(torch.rand(2, 4))
