"""The twin against the file, where rounding is all that the scores are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import FLOAT, write_onnx
from onnx import helper
from target_kit import complete

from robaudit.target.load import open_target
from robaudit.target.measures.parity import CANCELLED, differences, summed
from robaudit.target.target import Target


def cancelling(path: Path) -> Path:
    """y = x W with columns of +-1 that sum to nothing: on a constant input the terms are 8 and the sum is rounding."""
    signs = np.tile([1.0, -1.0], 4)
    weight = np.stack([signs, np.roll(signs, 1), np.repeat([1.0, -1.0], 4)], 1).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return write_onnx(path, nodes, ("N", 8), {"w": weight}, outputs={"y": (("N", 3), FLOAT)})


def ready(path: Path) -> tuple[Target, torch.Tensor]:
    target = open_target(path, device="cpu", sample_shape=(8,))
    u = torch.linspace(0.2, 0.9, 6)[:, None].repeat(1, 8).to(target.dtype)
    target = complete(target, torch.rand(4, 8, generator=torch.Generator().manual_seed(0)).to(target.dtype))
    return target, u


@pytest.mark.parametrize(("error", "equal"), [(1e-7, True), (1e-2, False)])
def test_what_is_left_of_a_cancellation_is_compared_with_what_was_summed(tmp_path, monkeypatch, error, equal):
    target, u = ready(cancelling(tmp_path / "m.onnx"))
    assert float(target.scores(u).abs().amax()) < 1e-6
    noise = torch.Generator().manual_seed(0)
    exact = target.scores

    def rounded(points: torch.Tensor, *, alone: bool = False) -> torch.Tensor:
        scores = exact(points, alone=alone)
        return scores + error * torch.randn(scores.shape, generator=noise)

    monkeypatch.setattr(target, "scores", rounded)
    found = target.parity(u)
    assert (found.relative_difference < 1e-4, found.argmax_agreement == 1) == (equal, equal)


def test_a_wrong_twin_of_well_conditioned_scores_is_seen(tmp_path, monkeypatch):
    target, _ = ready(cancelling(tmp_path / "m.onnx"))
    u = torch.rand(6, 8, generator=torch.Generator().manual_seed(1)).to(target.dtype)
    exact = target.scores
    monkeypatch.setattr(target, "scores", lambda points: exact(points) * 1.002)
    assert target.parity(u).relative_difference == pytest.approx(0.002, rel=0.01)


def test_the_terms_of_a_sum_are_measured_before_they_cancel():
    weight = torch.tensor([[3.0, -3.0, 1e-3]])
    u = torch.ones(1, 3)
    assert summed(u, lambda x: x @ weight.T, [weight]) == pytest.approx(6.001)
    assert not weight.requires_grad
    assert summed(u, lambda x: (x * 0).sum(1, keepdim=True), []) == 0
    assert 0 < CANCELLED < 0.01


def test_minus_infinity_equals_what_some_processors_round_to_it() -> None:
    far = torch.tensor([[0.0, -206.0], [5.0, -90.0]])
    none = torch.tensor([[0.0, -torch.inf], [5.0, -torch.inf]])
    assert differences(none, far).tolist() == differences(far, none).tolist() == [[0, 0], [0, 0]]
    near = torch.tensor([[0.0, -50.0], [5.0, -60.0]])
    assert differences(none, near).tolist() == differences(near, none).tolist() == [[0, torch.inf], [0, torch.inf]]
