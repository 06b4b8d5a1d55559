"""The watch of backward passes: of every kind of file, whoever asks, and for as long as they may take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_kit import make_onnx, make_script

from robaudit.target.load import Allowed, open_target
from robaudit.target.running.watch import BACKWARD, PATIENCE, Watch, Watched


class Noted(Watch):
    """Notes what it tells the other side as a backward pass begins."""

    def __init__(self, path: Path) -> None:
        self.other = Watched(path)
        super().__init__(path, 1.0)
        self.begun: list[int] = []

    def begin_backward(self, rows: int, kind: object) -> None:
        super().begin_backward(rows, kind)
        assert self.other.at_work().backward
        assert self.other.at_work().limit >= BACKWARD
        self.begun.append(rows)


def exported(path: Path) -> Path:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4)).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 1, 6, 6),)), path)
    return path


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "exported"])
def test_every_backward_pass_is_told(tmp_path: Path, kind: str) -> None:
    make = {"onnx": make_onnx, "torchscript": make_script, "exported": exported}[kind]
    watch = Noted(tmp_path / "pulse")
    model = make(tmp_path / ("m.pt2" if kind == "exported" else "m"))
    target = open_target(model, sample_shape=(1, 6, 6), watch=watch, allowed=Allowed(trust_model=True))
    points = torch.full((3, 1, 6, 6), 0.5, dtype=target.dtype).requires_grad_()
    logits = target.logits(points)
    watch.begun.clear()
    each = 3 * [1] if kind == "exported" else [3]  # it fixes its batch
    for label in range(4):  # rows of a Jacobian
        torch.autograd.grad(logits[:, label].sum(), points, retain_graph=True)
        assert sorted(watch.begun) == (label + 1) * each
        assert not watch.other.at_work().calling
    with torch.no_grad():
        target.logits(points)
    assert len(watch.begun) == 4 * len(each)


def test_a_gradient_is_the_same_without_a_watch(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    found = []
    for watch in (Watch(), Noted(tmp_path / "pulse")):
        target = open_target(tmp_path / "m.onnx", sample_shape=(1, 6, 6), watch=watch)
        points = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
        found.append(torch.autograd.grad(target.logits(points).square().sum(), points)[0])
    assert torch.equal(*found)


def test_a_backward_pass_may_take_longer_than_a_forward_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, watch, clock = Watched(tmp_path / "pulse"), Watch(tmp_path / "pulse", 2.0, first=30.0), [0.0]
    monkeypatch.setattr("robaudit.target.running.watch.time.perf_counter", lambda: clock[0])

    def forward(seconds: float, rows: int = 1) -> None:
        with watch.call(rows, "twin"):
            clock[0] += seconds

    def limit(seconds: float, rows: int = 1) -> float:
        watch.begin_backward(rows, "twin")
        clock[0] += seconds
        told = other.at_work().limit
        watch.end_backward()
        assert not other.at_work().calling
        return told

    assert limit(0.1) == BACKWARD * 30.0  # no forward call is known
    forward(0.001)
    assert limit(0.1) == BACKWARD * 2.0
    assert limit(3.0) == limit(3.0) == BACKWARD * 2.0
    assert limit(3.0) == PATIENCE * 3.0
    assert limit(3.0, rows=4) == PATIENCE * 12.0
    watch = Watch(tmp_path / "pulse", 2.0)
    forward(8.0, rows=2)
    assert limit(1.0) == BACKWARD * PATIENCE * 4.0  # before the first backward pass the forward ones tell


def test_a_backward_pass_that_raises_is_over_with_the_next_call(tmp_path: Path) -> None:
    other, watch = Watched(tmp_path / "pulse"), Watch(tmp_path / "pulse", 2.0)
    with watch.about("fgsm ran", [1]):
        watch.begin_backward(1, "twin")
        assert other.at_work().backward
    assert not other.at_work().calling
    watch.begin_backward(1, "twin")
    with watch.call(1, "file"):
        assert not other.at_work().backward
    assert not other.at_work().calling
    watch.end_backward()
    assert not other.at_work().calling
