from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_onnx
from onnx import helper
from target_kit import complete
from torch import nn

from robaudit.target.load import Allowed, open_target

NODE = helper.make_node
LOW, HIGH = -math.inf, math.inf


def ended(path: Path, *nodes: object, **constants: np.ndarray) -> Path:
    """A matrix to one number ``z``, then nodes that make ``y``."""
    first = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["z"])]
    return write_onnx(path, [*first, *nodes], ["N", 3, 4, 4], {"w": np.full((48, 1), 0.01, np.float32), **constants})


ONE, HALF, MINUS = (np.float32(v).reshape(()) for v in (1, 0.5, -1))


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([NODE("Identity", ["z"], ["y"])], (LOW, HIGH)),
        ([NODE("Add", ["z", "one"], ["y"])], (LOW, HIGH)),
        ([NODE("Mul", ["z", "half"], ["a"]), NODE("Reshape", ["a", "shape"], ["y"])], (LOW, HIGH)),
        ([NODE("Tanh", ["z"], ["y"])], (-1, 1)),
        ([NODE("Tanh", ["z"], ["t"]), NODE("Add", ["t", "one"], ["a"]), NODE("Mul", ["a", "half"], ["y"])], (0, 1)),
        ([NODE("Sigmoid", ["z"], ["y"])], (0, 1)),
        ([NODE("Sigmoid", ["z"], ["s"]), NODE("Sub", ["one", "s"], ["y"])], (0, 1)),
        ([NODE("Sigmoid", ["z"], ["s"]), NODE("Sub", ["s", "half"], ["y"])], (-0.5, 0.5)),
        ([NODE("Sigmoid", ["z"], ["s"]), NODE("Log", ["s"], ["y"])], (LOW, 0)),
        ([NODE("Sigmoid", ["z"], ["s"]), NODE("Neg", ["s"], ["y"])], (-1, 0)),
        ([NODE("Clip", ["z", "minus", "one"], ["y"])], (-1, 1)),
        ([NODE("Relu", ["z"], ["y"])], (0, HIGH)),
        ([NODE("Sigmoid", ["z"], ["s"]), NODE("Div", ["s", "half"], ["y"])], (0, 2)),
        ([NODE("Sinh", ["z"], ["y"])], None),
    ],
)
def test_the_end_of_a_graph_bounds_its_numbers(tmp_path, nodes, found):
    path = ended(tmp_path / "m.onnx", *nodes, one=ONE, half=HALF, minus=MINUS, shape=np.array([-1, 1], np.int64))
    target = open_target(path, device="cpu")
    assert target.file.bounds == (None if found is None else pytest.approx(found))


class Ends(nn.Module):
    def __init__(self, end: str) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(48, 1), end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.layer(x.flatten(1))
        if self.end == "tanh":
            return torch.tanh(z)
        if self.end == "sigmoid":
            return 1 - torch.sigmoid(z)
        if self.end == "clamp":
            return z.clamp(-1, 1)
        return z


@pytest.mark.parametrize("kind", ["script", "exported"])
@pytest.mark.parametrize(
    ("end", "found"), [("", (LOW, HIGH)), ("tanh", (-1, 1)), ("sigmoid", (0, 1)), ("clamp", (-1, 1))]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_graphs_too(tmp_path, end, found, kind):
    x = torch.rand(1, 3, 4, 4)
    path = tmp_path / ("m.pt" if kind == "script" else "m.pt2")
    if kind == "script":
        torch.jit.trace(Ends(end).eval(), x).save(str(path))
    else:
        torch.export.save(torch.export.export(Ends(end).eval(), (x,)), path)
    target = open_target(path, device="cpu", sample_shape=(3, 4, 4), allowed=Allowed(trust_model=True))
    assert target.file.bounds == pytest.approx(found)


def test_a_decision_value_in_the_unit_interval_is_no_probability(tmp_path):
    """All answers lie in (0, 1), and 0 is what decides: the mean of an image's values less 0, and its tanh."""
    path = ended(
        tmp_path / "m.onnx", NODE("Mul", ["z", "small"], ["a"]), NODE("Tanh", ["a"], ["y"]), small=np.float32(0.01)
    )
    target = open_target(path, device="cpu")
    target = complete(target, torch.rand(4, 3, 4, 4))
    assert target.head.kind == "logits"
    assert target.labels(torch.full((1, 3, 4, 4), 0.1)).tolist() == [1]


def test_one_log_probability_is_decided_at_one_half(tmp_path):
    path = ended(tmp_path / "m.onnx", NODE("Sigmoid", ["z"], ["s"]), NODE("Log", ["s"], ["y"]))
    target = open_target(path, device="cpu")
    target = complete(target, torch.rand(4, 3, 4, 4))
    assert target.head.kind == "log-probabilities"
    scores = target.scores(torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(scores, torch.full((1, 2), math.log(0.5)))
