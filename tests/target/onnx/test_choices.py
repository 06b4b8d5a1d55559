"""A smooth backward for indices: what the nearest, the largest and the k largest decide has a slope."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper
from smooth_kit import twins

from robaudit.target.onnx import OnnxModule
from robaudit.target.running.smooth import WIDTH

NODE = helper.make_node
X = torch.tensor([[-2.0, -0.5, 0.1, 1.5], [3.0, -1.0, 0.0, 0.2]])
S = WIDTH * X.std(1, correction=0, keepdim=True)
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3) ** 1.5


def slope(module: OnnxModule, x: torch.Tensor) -> torch.Tensor:
    value = x.clone().requires_grad_()
    y = module(value)
    weights = torch.arange(1.0, y[0].numel() + 1).reshape(y.shape[1:])
    return torch.autograd.grad((y * weights).sum(), value)[0] if y.requires_grad else torch.zeros_like(x)


def ranked(x: torch.Tensor, k: int, *, largest: bool = True) -> torch.Tensor:
    """SoftSort's weights [N, k, places]."""
    top = x.topk(k, 1, largest=largest).values
    return torch.softmax(-(top[:, :, None] - x[:, None, :]).abs() / S[: len(x), :, None], 2)


TOP2 = NODE("TopK", ["x", "two"], ["v", "i"])
TOP = NODE("ArgMax", ["x"], ["i"], axis=1, keepdims=0)
CASES = {
    "nearest neighbours": (
        [NODE("TopK", ["x", "two"], ["v", "i"], largest=0), NODE("Gather", ["table", "i"], ["y"], axis=0)],
        lambda x: ranked(x, 2, largest=False) @ torch.from_numpy(TABLE),
    ),
    "one looked up": (
        [TOP, NODE("Gather", ["table", "i"], ["y"])],
        lambda x: torch.softmax(x / S, 1) @ torch.from_numpy(TABLE),
    ),
    "lowest, as a column": (
        [
            NODE("ArgMin", ["x"], ["i"], axis=1),
            NODE("Squeeze", ["i", "axes"], ["j"]),
            NODE("Gather", ["table", "j"], ["y"]),
        ],
        lambda x: torch.softmax(-x / S, 1) @ torch.from_numpy(TABLE),
    ),
    "k winners marked": (
        [TOP2, NODE("Mul", ["x", "zero"], ["z"]), NODE("ScatterElements", ["z", "i", "v"], ["y"], axis=1)],
        lambda x: (x.topk(2, 1).values[:, None, :] @ ranked(x, 2))[:, 0],
    ),
    "elements picked": (
        [TOP2, NODE("Mul", ["x", "x"], ["z"]), NODE("GatherElements", ["z", "i"], ["y"], axis=1)],
        lambda x: (ranked(x, 2) @ (x * x)[:, :, None])[:, :, 0],
    ),
    "one hot": (
        [TOP, NODE("OneHot", ["i", "depth", "ends"], ["y"])],
        lambda x: 1 + 2 * torch.softmax(x / S, 1),
    ),
    "one hot of integers": (
        [TOP, NODE("OneHot", ["i", "depth", "whole"], ["h"]), NODE("Cast", ["h"], ["y"], to=1)],
        lambda x: torch.softmax(x / S, 1),
    ),
    "compared with each place": (
        [
            NODE("ArgMax", ["x"], ["i"], axis=1),
            NODE("Equal", ["places", "i"], ["same"]),
            NODE("Cast", ["same"], ["y"], to=1),
        ],
        lambda x: torch.softmax(x / S, 1),
    ),
    "the place itself": (
        [NODE("ArgMax", ["x"], ["i"], axis=1), NODE("Cast", ["i"], ["y"], to=1)],
        lambda x: torch.softmax(x / S, 1) @ torch.arange(4.0)[:, None],
    ),
}
CONSTANTS = {
    "two": np.int64([2]),
    "table": TABLE,
    "zero": np.float32(0),
    "axes": np.int64([1]),
    "depth": np.int64(4),
    "ends": np.float32([1, 3]),
    "whole": np.int64([0, 1]),
    "places": np.int64([[0, 1, 2, 3]]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_choice_keeps_its_values_and_has_the_slope_of_soft_weights(name: str) -> None:
    nodes, soft = CASES[name]
    read = {i for node in nodes for i in node.input}
    plain, smooth = twins(nodes, (4,), **{name: value for name, value in CONSTANTS.items() if name in read})
    assert torch.equal(plain(X), smooth(X))
    point = X.clone().requires_grad_()
    y = soft(point)
    weights = torch.arange(1.0, y[0].numel() + 1).reshape(y.shape[1:])
    (wanted,) = torch.autograd.grad((y * weights).sum(), point)
    assert wanted.any()
    torch.testing.assert_close(slope(smooth, X), wanted)
    torch.testing.assert_close(slope(smooth, X[:1]), wanted[:1])


def test_a_choice_between_samples_or_among_too_many_places_has_no_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    import robaudit.target.onnx.choices as choices

    looked = NODE("Gather", ["table", "i"], ["y"])
    nodes = [NODE("ArgMax", ["x"], ["i"], axis=1, keepdims=0), looked]
    monkeypatch.setattr(choices, "MOST", 3)
    plain, smooth = twins(nodes, (4,), table=TABLE)
    assert torch.equal(plain(X), smooth(X))
    assert not slope(smooth, X).any()
