"""A smooth backward: the same values, and a gradient where the true one says nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import make_model
from smooth_kit import twins

from robaudit.target.onnx import OnnxModule, import_onnx
from robaudit.target.running.smooth import POOL, WIDTH, Smooth

FLOAT = onnx.TensorProto.FLOAT
NODE = helper.make_node


def slope(module: OnnxModule, x: torch.Tensor) -> torch.Tensor:
    value = x.clone().requires_grad_()
    y = module(value)
    return torch.autograd.grad(y.sum(), value)[0] if y.requires_grad else torch.zeros_like(x)


X = torch.tensor([[-2.0, -0.5, 0.1, 1.5], [3.0, -1.0, 0.0, 0.2]])
S = WIDTH * X.std(1, correction=0, keepdim=True)
HARD = (torch.sigmoid((X + 3) / S) - torch.sigmoid((X - 3) / S)) / 6
CASES = {
    "Relu": ([NODE("Relu", ["x"], ["y"])], torch.sigmoid(X / S)),
    "LeakyRelu": ([NODE("LeakyRelu", ["x"], ["y"], alpha=0.5)], 0.5 + 0.5 * torch.sigmoid(X / S)),
    "Abs": ([NODE("Abs", ["x"], ["y"])], 2 * torch.sigmoid(X / S) - 1),
    "Clip": ([NODE("Clip", ["x", "low", "high"], ["y"])], torch.sigmoid((X + 1) / S) - torch.sigmoid((X - 1) / S)),
    "above": ([NODE("Clip", ["x", "", "high"], ["y"])], torch.sigmoid((1 - X) / S)),
    "Max": ([NODE("Max", ["x", "middle"], ["y"])], torch.sigmoid(X / S)),
    "Min": ([NODE("Min", ["x", "middle"], ["y"])], torch.sigmoid(-X / S)),
    "HardSigmoid": ([NODE("HardSigmoid", ["x"], ["y"], alpha=1 / 6)], HARD),
    "HardSwish": ([NODE("HardSwish", ["x"], ["y"])], (X / 6 + 0.5).clamp(0, 1) + X * HARD),
    "Sign": ([NODE("Sign", ["x"], ["y"])], (1 - torch.tanh(X / S) ** 2) / S),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_keeps_its_values_and_gets_the_slope_of_its_stand_in(name: str) -> None:
    nodes, wanted = CASES[name]
    plain, smooth = twins(nodes, (4,), low=-1.0, high=1.0, middle=0.0)
    assert torch.equal(plain(X), smooth(X))
    torch.testing.assert_close(slope(smooth, X), wanted)
    for row in range(2):  # no sample's width is another's
        torch.testing.assert_close(slope(smooth, X[row : row + 1]), wanted[row : row + 1])


@pytest.mark.parametrize("name", ["whole", "overlapping", "gap", "row"])
def test_one_input_after_another_has_the_slopes_of_the_batch(name: str) -> None:
    """A transform of functions (vmap) gets it by ordinary operations."""
    pool = {
        "whole": NODE("GlobalMaxPool", ["c"], ["p"]),
        "overlapping": NODE("MaxPool", ["c"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        "gap": NODE("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        "row": NODE("MaxPool", ["c"], ["p"], kernel_shape=[2], strides=[2]),
    }[name]
    nodes = [
        NODE("LeakyRelu", ["x"], ["a"], alpha=0.2),
        NODE("Clip", ["a", "low", "high"], ["b"]),
        NODE("Max", ["b", "middle"], ["c"]),
        pool,
        NODE("Abs", ["p"], ["y"]),
    ]
    shape = (2, 5) if name == "row" else (2, 5, 5)
    plain, smooth = twins(nodes, shape, low=-1.0, high=1.0, middle=-0.3)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(x), smooth(x))
    wanted = slope(smooth, x)
    for how in ("vmap", "loop"):
        value = x.clone().requires_grad_()
        found = torch.autograd.grad(smooth.run(how, value, {})[0].sum(), value)[0]
        torch.testing.assert_close(found, wanted)
    assert not torch.allclose(wanted, slope(plain, x))


def test_computed_ends_of_a_clip_have_their_part_of_the_slope() -> None:
    nodes = [NODE("ReduceMin", ["x"], ["low"], axes=[1], keepdims=0), NODE("Clip", ["x", "low"], ["y"])]
    plain, smooth = twins(nodes, (4,))
    x = X[:1]
    assert torch.equal(plain(x), smooth(x))
    gate = torch.sigmoid((x - x.min()) / S[:1])
    torch.testing.assert_close(slope(smooth, x), gate + (x == x.min()) * (1 - gate).sum())


def test_a_comparison_has_a_slope_once_it_is_a_number() -> None:
    """A thermometer encoding: x > .5 as 0 or 1, and its negation."""
    nodes = [
        NODE("Greater", ["x", "edge"], ["above"]),
        NODE("Not", ["above"], ["below"]),
        NODE("Cast", ["above"], ["a"], to=FLOAT),
        NODE("Cast", ["below"], ["b"], to=FLOAT),
        NODE("Mul", ["b", "three"], ["c"]),
        NODE("Add", ["a", "c"], ["y"]),
    ]
    plain, smooth = twins(nodes, (4,), edge=0.5, three=3.0)
    assert torch.equal(plain(X), smooth(X))
    assert not slope(plain, X).any()
    gate = torch.sigmoid((X - 0.5) / S)
    torch.testing.assert_close(slope(smooth, X), -2 * gate * (1 - gate) / S)


def test_a_choice_by_a_comparison_has_the_slope_of_both_branches() -> None:
    """k winners take all: what is below the k-th largest becomes 0."""
    nodes = [
        NODE("TopK", ["x", "k"], ["values", "places"]),
        NODE("ReduceMin", ["values"], ["edge"], axes=[1], keepdims=1),
        NODE("GreaterOrEqual", ["x", "edge"], ["won"]),
        NODE("Where", ["won", "x", "zero"], ["y"]),
    ]
    plain, smooth = twins(nodes, (4,), zero=np.float32(0), k=np.array([2]))
    assert torch.equal(plain(X), smooth(X))
    assert (slope(plain, X) == 0).sum() == 4  # the losers say nothing
    assert (slope(smooth, X) != 0).all()


def test_a_maximum_shares_its_slope_with_its_window() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    plain, smooth = twins([NODE("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], (1, 4, 4))
    assert torch.equal(plain(x), smooth(x))
    found = slope(smooth, x)[0, 0]
    assert found[1, 1] == pytest.approx(1 - POOL + POOL / 4)
    assert found[0, 0] == pytest.approx(POOL / 4)
    half, none = (plain.smoothed(Smooth(pool=share)) for share in (0.5, 0.0))
    assert half is not None
    assert none is not None
    assert slope(half, x)[0, 0, 1, 1] == pytest.approx(0.5 + 0.5 / 4)
    torch.testing.assert_close(slope(none, x), slope(plain, x))
    plain, smooth = twins([NODE("GlobalMaxPool", ["x"], ["y"])], (1, 4, 4))
    assert torch.equal(plain(x), smooth(x))
    assert slope(smooth, x).min() == pytest.approx(POOL / 16)


def test_a_graph_without_such_operators_has_no_other_backward() -> None:
    arrays = {"w": np.ones((4, 2), np.float32)}
    module = import_onnx(make_model([NODE("MatMul", ["x", "w"], ["y"])], ("n", 4), arrays), "y")
    assert module.smoothed() is None


def test_equal_features_and_infinities_leave_the_slope_finite() -> None:
    _, smooth = twins([NODE("Relu", ["x"], ["y"])], (4,))
    flat = torch.full((1, 4), 0.5)
    assert torch.equal(slope(smooth, flat), torch.ones(1, 4))
    assert torch.isfinite(slope(smooth, torch.tensor([[1e30, -1e30, 0.0, 1.0]]))).all()


def test_the_nodes_that_are_named_are_smooth_and_the_others_are_not() -> None:
    nodes = [
        NODE("Relu", ["x"], ["a"], name="first"),
        NODE("Sub", ["a", "one"], ["b"]),
        NODE("Relu", ["b"], ["c"], name="second"),
        NODE("Abs", ["c"], ["y"]),
    ]
    plain, smooth = twins(nodes, (4,), one=1.0)
    assert plain.smoothable == {"Relu": ("first", "second"), "Abs": ("y",)}
    first = plain.smoothed(Smooth(nodes=frozenset(("first",))))
    assert first is not None
    assert torch.equal(first(X), plain(X))
    torch.testing.assert_close(slope(first, X), torch.sigmoid(X / S) * (X > 1))
    every = plain.smoothed(Smooth(nodes=frozenset(("first", "second", "y"))))
    assert every is not None
    assert torch.equal(slope(every, X), slope(smooth, X))
    assert not torch.equal(slope(first, X), slope(smooth, X))
    assert plain.smoothed(Smooth(nodes=frozenset(("third",)))) is None
