"""A smooth backward of TorchScript: the same values, the stand-ins' slopes, and the module as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from model_files import script, write_onnx
from onnx import helper
from torch import Tensor, nn

from robaudit.errors import AuditError
from robaudit.target.files.torchscript.smoothing import Rough, smoothed
from robaudit.target.load import open_target
from robaudit.target.onnx import import_onnx
from robaudit.target.running.smooth import POOL, WIDTH, Smooth

NODE = helper.make_node
X = torch.tensor([[-2.0, -0.5, 0.1, 1.5], [3.0, -1.0, 0.0, 0.2]])
S = WIDTH * X.std(1, correction=0, keepdim=True)
GATE = torch.sigmoid(X / S)
HARD = (torch.sigmoid((X + 3) / S) - torch.sigmoid((X - 3) / S)) / 6


class Of(nn.Module):
    """A function as a module, which is traced."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def traced(function: Callable[[Tensor], Any], x: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Of(function), x, check_trace=False)


def slope(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    value = x.clone().requires_grad_()
    y = function(value)
    return torch.autograd.grad(y.sum(), value)[0] if y.requires_grad else torch.zeros_like(x)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "relu": (torch.relu, GATE),
    "relu in place": (lambda x: F.relu(x + 0.0, inplace=True), GATE),
    "relu6": (F.relu6, GATE - torch.sigmoid((X - 6) / S)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.5), 0.5 + 0.5 * GATE),
    "hardtanh": (F.hardtanh, torch.sigmoid((X + 1) / S) - torch.sigmoid((X - 1) / S)),
    "clamp": (lambda x: x.clamp(-1, 1), torch.sigmoid((X + 1) / S) - torch.sigmoid((X - 1) / S)),
    "clamp above": (lambda x: x.clamp(max=1.0), torch.sigmoid((1 - X) / S)),
    "clamp_min": (lambda x: x.clamp_min(-1.0), torch.sigmoid((X + 1) / S)),
    "clamp_max": (lambda x: x.clamp_max(1.0), torch.sigmoid((1 - X) / S)),
    "clamp to tensors": (lambda x: torch.clamp(x, torch.zeros(4), None), GATE),
    "hardsigmoid": (F.hardsigmoid, HARD),
    "hardswish": (F.hardswish, (X / 6 + 0.5).clamp(0, 1) + X * HARD),
    "abs": (torch.abs, 2 * GATE - 1),
    "sign": (torch.sign, (1 - torch.tanh(X / S) ** 2) / S),
    "maximum": (lambda x: torch.maximum(x, torch.zeros(())), GATE),
    "max of two": (lambda x: torch.max(x, torch.zeros(4)), GATE),
    "minimum": (lambda x: torch.minimum(x, torch.zeros(())), torch.sigmoid(-X / S)),
    "comparison": (lambda x: (x > 0).float(), GATE * (1 - GATE) / S),
    "its negation": (lambda x: 3 * (~(x.unsqueeze(1) <= 0)).to(torch.float32).squeeze(1), 3 * GATE * (1 - GATE) / S),
    "mask": (lambda x: x * (x >= 0), (X >= 0) + X * GATE * (1 - GATE) / S),
    "where": (lambda x: torch.where(x < 0, torch.zeros(4), x), GATE + X * GATE * (1 - GATE) / S),
    "where of numbers": (lambda x: torch.where(x > 0, 1.0, 0.0), GATE * (1 - GATE) / S),
    "masked_fill": (lambda x: x.masked_fill(x < 0, 0.0), GATE + X * GATE * (1 - GATE) / S),
    "band": (
        lambda x: ((x > 0) & (x < 9)).float(),
        slope(lambda x: torch.sigmoid(x / S) * torch.sigmoid((9 - x) / S), X),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_keeps_its_values_and_gets_the_slope_of_its_stand_in(name: str) -> None:
    function, wanted = CASES[name]
    plain = traced(function, X)
    before = slope(plain, X)
    smooth = smoothed(plain, Smooth())
    for _ in range(3):  # PyTorch optimises code once it has seen what it is given
        assert torch.equal(plain(X), smooth(X))
        torch.testing.assert_close(slope(smooth, X), wanted)
    for row in range(2):  # no sample's width is another's
        torch.testing.assert_close(slope(smooth, X[row : row + 1]), wanted[row : row + 1])
    assert torch.equal(slope(plain, X), before)


POOLS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "1d": (lambda x: F.max_pool1d(x, 2), lambda x: F.avg_pool1d(x, 2), (2, 3, 8)),
    "2d": (lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), (2, 3, 6, 4)),
    "2d, overlapping": (
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        (2, 3, 8, 8),
    ),
    "2d, over the end": (
        lambda x: F.max_pool2d(x, 2, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
        (2, 3, 5, 5),
    ),
    "2d, with indices": (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        lambda x: F.avg_pool2d(x, 2),
        (2, 3, 4, 4),
    ),
    "3d": (lambda x: F.max_pool3d(x, 2), lambda x: F.avg_pool3d(x, 2), (2, 2, 4, 4, 4)),
    "adaptive 1d": (lambda x: F.adaptive_max_pool1d(x, 3), lambda x: F.adaptive_avg_pool1d(x, 3), (2, 3, 8)),
    "adaptive 2d": (lambda x: F.adaptive_max_pool2d(x, 3), lambda x: F.adaptive_avg_pool2d(x, 3), (2, 3, 7, 7)),
    "adaptive 3d": (lambda x: F.adaptive_max_pool3d(x, 2), lambda x: F.adaptive_avg_pool3d(x, 2), (2, 3, 5, 5, 5)),
    "whole": (lambda x: F.adaptive_max_pool2d(x, 1), lambda x: F.adaptive_avg_pool2d(x, 1), (2, 3, 7, 7)),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("share", [POOL, 0.7])
def test_a_maximum_shares_its_slope_with_its_window(name: str, share: float) -> None:
    highest, average, shape = POOLS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    plain = traced(highest, x)
    smooth = smoothed(plain, Smooth(pool=share))
    assert torch.equal(plain(x), smooth(x))
    torch.testing.assert_close(slope(smooth, x), (1 - share) * slope(plain, x) + share * slope(average, x))


def test_a_dilated_pool_keeps_its_own_slope_and_no_share_is_none() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = traced(lambda x: F.max_pool2d(x, 2, dilation=2), x)
    torch.testing.assert_close(slope(smoothed(plain, Smooth()), x), slope(plain, x))
    with pytest.raises(Rough, match="no operator of its code"):
        smoothed(traced(lambda x: F.max_pool2d(x, 2), x), Smooth(pool=0.0))


class Block(nn.Module):
    """Layers in parts, a part in place, a branch, and what is written to while something else sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.first(x)
        seen = y.view(-1, 8)
        self.act(y)
        y = self.act(self.norm(y)) + seen
        if bool(y.sum() > -1e9):
            y = torch.clamp(self.drop(y), max=3.0)
        for _ in range(2):
            y = y + torch.relu(y - 1)
            y += 1
        return self.last(y)


class Functional(Block):
    """The same, in which nothing is written to."""

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.relu(self.first(x))
        y = torch.relu(self.norm(seen)) + seen
        y = torch.clamp(self.drop(y), max=3.0)
        for _ in range(2):
            y = y + torch.relu(y - 1) + 1
        return self.last(y)


def test_parts_branches_loops_and_writes_keep_their_meaning() -> None:
    torch.manual_seed(0)
    module = Block().double().eval()
    other = Functional().double().eval()
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    plain: Any = torch.jit.script(module)
    smooth, wanted = smoothed(plain, Smooth(0.3)), smoothed(torch.jit.script(other), Smooth(0.3))
    x = torch.randn(5, 4, dtype=torch.float64)
    before = slope(plain, x)
    for _ in range(3):
        assert torch.equal(smooth(x), plain(x))
        torch.testing.assert_close(slope(smooth, x), slope(wanted, x))
    assert plain.calls == 3 * 3 + 1  # both write the one module's attribute
    assert torch.equal(slope(plain, x), before)
    assert not torch.allclose(slope(smooth, x), before)


class Again(nn.Module):
    """What a loop writes into it sees again."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        for _ in range(3):
            F.hardswish(y, inplace=True)
        return F.leaky_relu_(y + x, 0.5)


def test_what_a_loop_writes_into_it_sees_again() -> None:
    plain: Any = torch.jit.script(Again())
    smooth = smoothed(plain, Smooth())
    assert torch.equal(smooth(X), plain(X))
    wanted = smoothed(
        traced(lambda x: F.leaky_relu(F.hardswish(F.hardswish(F.hardswish(x * 2))) + x, 0.5), X), Smooth()
    )
    torch.testing.assert_close(slope(smooth, X), slope(wanted, X))


def test_a_module_that_draws_draws_alike() -> None:
    plain = torch.jit.script(Block().train())
    smooth = smoothed(plain, Smooth())
    x = torch.randn(6, 4)
    for seed in range(3):
        torch.manual_seed(seed)
        expected = plain(x)
        torch.manual_seed(seed)
        assert torch.equal(smooth(x), expected)


def test_whole_numbers_and_other_maxima_are_left_alone() -> None:
    def function(x: Tensor) -> Tensor:
        steps = torch.clamp((x.detach() * 3).long(), max=2)
        return x * torch.abs(steps) + torch.max(x, 1, keepdim=True)[0] + torch.max(x) + torch.relu(x)

    plain = traced(function, X)
    smooth = smoothed(plain, Smooth())
    assert torch.equal(plain(X), smooth(X))
    torch.testing.assert_close(slope(smooth, X) - slope(plain, X), GATE - (X > 0).float())


def test_masks_of_minus_infinity_leave_the_slope_finite() -> None:
    plain = traced(lambda x: torch.softmax(x.masked_fill(x < 0, -torch.inf), 1).square() + torch.relu(x), X)
    assert torch.isfinite(slope(smoothed(plain, Smooth()), X)).all()


def test_it_is_the_slope_of_the_same_net_in_onnx(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    arrays = {
        "w": draws.normal(size=(4, 1, 3, 3)),
        "v": draws.normal(size=(3 * 3 * 4, 5)),
        "low": np.asarray(-0.5),
        "high": np.asarray(0.5),
        "edge": np.asarray(0.1),
    }
    nodes = [
        NODE("Conv", ["x", "w"], ["a"]),
        NODE("LeakyRelu", ["a"], ["b"], alpha=0.1),
        NODE("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        NODE("Flatten", ["c"], ["d"]),
        NODE("MatMul", ["d", "v"], ["e"]),
        NODE("Relu", ["e"], ["f"]),
        NODE("Clip", ["e", "low", "high"], ["g"]),
        NODE("Greater", ["e", "edge"], ["h"]),
        NODE("Cast", ["h"], ["i"], to=onnx.TensorProto.FLOAT),
        NODE("Sum", ["f", "g", "i"], ["y"]),
    ]
    constants = {name: value.astype(np.float32) for name, value in arrays.items()}
    model = onnx.load(write_onnx(tmp_path / "net.onnx", nodes, ("n", 1, 8, 8), constants))
    w, v = (torch.from_numpy(arrays[name].astype(np.float32)).double() for name in ("w", "v"))
    edge = float(np.float32(0.1))

    def net(x: Tensor) -> Tensor:
        c = F.max_pool2d(F.leaky_relu(F.conv2d(x, w), float(np.float32(0.1))), 2)
        e = c.flatten(1) @ v
        return torch.relu(e) + e.clamp(-0.5, 0.5) + (e > edge).double()

    x = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for smooth in (Smooth(), Smooth(0.05, 0.5)):
        twin = import_onnx(model, "y").smoothed(smooth)
        assert twin is not None
        found = slope(smoothed(traced(net, x), smooth), x)
        torch.testing.assert_close(found, slope(twin.double(), x), rtol=1e-5, atol=1e-5)


class Dead(nn.Module):
    """A classifier whose hidden units are all off near the middle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(12, 16)
        self.last = nn.Linear(16, 3)
        nn.init.constant_(self.first.bias, -4.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.last(torch.relu(self.first(x.flatten(1)))), 1)


@pytest.mark.parametrize("freeze", [False, True])
def test_a_file_whose_units_are_off_has_a_gradient(tmp_path: Path, freeze: bool) -> None:
    path = script(tmp_path / "dead.pt", Dead(), freeze=freeze)
    file = open_target(path, sample_shape=(3, 2, 2)).file
    x = torch.rand(4, 3, 2, 2)
    assert file.unsmooth is None
    assert not slope(lambda u: file.differentiable(u)[:, 0], x).any()
    assert (slope(lambda u: file.smoothly(u, Smooth(1.0))[:, 0], x) != 0).all()
    assert torch.equal(file.smoothly(x, Smooth()), file.differentiable(x))
    assert not slope(lambda u: file.differentiable(u)[:, 0], x).any()
    narrow, wide = (slope(lambda u, w=width: file.smoothly(u, Smooth(w))[:, 0], x) for width in (0.5, 1.0))
    assert not torch.allclose(narrow, wide)
    assert file.features(smooth=True) is not None


def test_a_file_without_such_operators_says_so(tmp_path: Path) -> None:
    file = open_target(
        script(tmp_path / "flat.pt", nn.Sequential(nn.Flatten(), nn.Linear(12, 3))), sample_shape=(3, 2, 2)
    ).file
    assert file.unsmooth == "no operator of its code has a smooth backward"
    with pytest.raises(AuditError, match="no smooth backward: no operator"):
        file.smoothly(torch.rand(1, 3, 2, 2), Smooth())


def test_code_that_cannot_be_read_is_told() -> None:
    with pytest.raises(Rough, match="its code cannot be given one"):
        smoothed(nn.ReLU(), Smooth())
