"""Another model's gradient in place of one that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import linear_onnx, weight, write_onnx
from onnx import helper
from target_kit import complete

from robaudit.errors import UsageError
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure, unmeasured
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.target import ready, stand_in_for

SHAPE = ("N", 1, 4, 4)


def stairs(path: Path) -> OpenedTarget:
    """Scores that change by steps: the comparison has no gradient."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node("Greater", ["z", "half"], ["above"]),
        helper.make_node("Cast", ["above"], ["y"], to=1),
    ]
    constants = {"w": weight(3, 16), "half": torch.tensor(0.1).numpy()}
    return open_target(write_onnx(path, nodes, SHAPE, constants, outputs={"y": (("N", 3), 1)}), device="cpu")


def test_values_are_the_files_and_the_gradient_the_stand_ins(tmp_path: Path) -> None:
    target = stairs(tmp_path / "stairs.onnx")
    other = open_target(linear_onnx(tmp_path / "plain.onnx", SHAPE, 3), device="cpu")
    u = torch.rand(5, 1, 4, 4)
    stand_in = stand_in_for(target, ready(unmeasured(other)))
    target = ready(measure(target, u), stand_in=stand_in)
    assert target.gradient.available
    assert target.gradient.method == "stand-in"
    points = u.clone().requires_grad_()
    logits = target.logits(points)
    assert torch.equal(logits.detach(), target.scores(u))
    (found,) = torch.autograd.grad(logits[:, 1].sum(), points)
    points = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(other.logits(points)[:, 1].sum(), points)
    assert torch.equal(found, expected)
    assert bool(found.any())


def test_without_it_the_steps_are_smoothed(tmp_path: Path) -> None:
    target = complete(stairs(tmp_path / "stairs.onnx"), torch.rand(5, 1, 4, 4))
    assert target.gradient.method == "smoothed"
    assert target.gradient.cuts == ("Greater (above), ends the gradient",)


@pytest.mark.parametrize(
    ("shape", "classes", "words"), [(("N", 1, 5, 5), 3, "inputs and the model"), (SHAPE, 4, "4 classes")]
)
def test_one_that_does_not_fit_is_refused(tmp_path: Path, shape: tuple, classes: int, words: str) -> None:
    target = stairs(tmp_path / "stairs.onnx")
    other = ready(unmeasured(open_target(linear_onnx(tmp_path / "plain.onnx", shape, classes), device="cpu")))
    with pytest.raises(UsageError, match=words):
        stand_in_for(target, other)
