"""Inputs and weights of every number type: what the file answers in, and what the twin differentiates in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from model_files import FLOAT, linear_onnx, weight, write_onnx
from onnx import TensorProto, helper
from target_kit import check_gradient, load, ready

NODE = helper.make_node


def test_float64_files_are_answered_in_float64(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", dtype=TensorProto.DOUBLE, end=["Tanh"]))
    assert target.dtype == torch.float64
    assert target.scores(u).dtype == torch.float64
    assert target.parity(u).relative_difference < 1e-12
    check_gradient(target, u, step=1e-5, tolerance=1e-6)


def test_float16_files_judge_in_half_and_differentiate_in_single_precision(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx", dtype=TensorProto.FLOAT16))
    assert target.scores(u).dtype == torch.float32
    assert target.logits(u).dtype == torch.float32
    half = u.half().numpy().reshape(6, -1).astype(np.float32) @ weight(5, 48).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(target.scores(u).numpy(), half, atol=0.05)
    parity = target.parity(u)
    assert parity.relative_difference < 2e-3
    assert target.batch_invariant


def uint8_file(path: Path) -> Path:
    """N x H x W x 3 bytes: cast, scaled and transposed inside, as exported serving models have it."""
    return write_onnx(
        path,
        [
            NODE("Cast", ["x"], ["f"], to=FLOAT),
            NODE("Div", ["f", "s"], ["d"]),
            NODE("Transpose", ["d"], ["t"], perm=[0, 3, 1, 2]),
            NODE("Flatten", ["t"], ["v"]),
            NODE("MatMul", ["v", "w"], ["m"]),
            NODE("Tanh", ["m"], ["y"]),
        ],
        ("N", 4, 4, 3),
        {"w": weight(5, 48), "s": np.float32([255])},
        outputs={"y": (("N", 5), FLOAT)},
        dtype=TensorProto.UINT8,
    )


def test_byte_inputs(tmp_path):
    target, u = ready(uint8_file(tmp_path / "m.onnx"))
    assert (target.spec.layout, target.spec.dtype, target.spec.scale) == ("nhwc", "uint8", 255.0)
    assert target.gradient.available
    expected = np.tanh(u.numpy().reshape(6, -1) @ weight(5, 48))
    np.testing.assert_allclose(target.scores(u).numpy(), expected, atol=1e-5)
    assert target.parity(u).relative_difference < 1e-5
    # between two bytes the file rounds, and the twin with it
    between = (u + 0.3 / 255).clamp(0, 1)
    assert target.parity(between).relative_difference < 1e-5
    leaf = u.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    by_hand = (1 - torch.from_numpy(expected[:, :1]) ** 2) * torch.from_numpy(weight(5, 48))[:, 0]
    torch.testing.assert_close(gradient.flatten(1), by_hand, rtol=1e-3, atol=1e-5)


def test_points_of_an_integer_input_are_snapped(tmp_path):
    target, u = ready(uint8_file(tmp_path / "m.onnx"))
    moved = (u + 2.7 / 255).clamp(0, 1)
    snapped = target.snap(moved, u)
    torch.testing.assert_close((snapped * 255).round() / 255, snapped, rtol=0, atol=1e-6)
    assert (snapped - u).max() < 2.001 / 255


def test_values_outside_of_the_integer_type_are_clipped(tmp_path):
    target = load(uint8_file(tmp_path / "m.onnx"))
    high = target.scores(torch.full((1, 3, 4, 4), 1.01))
    assert torch.equal(high, target.scores(torch.ones(1, 3, 4, 4)))


def test_a_gradient_is_taken_in_the_files_own_precision(tmp_path):
    target, u = ready(linear_onnx(tmp_path / "m.onnx"))
    torch.testing.assert_close(target.logits(u.double()), target.logits(u))


def test_float32_stays_float32_on_a_gpu(tmp_path):
    load(linear_onnx(tmp_path / "m.onnx"))
    assert not torch.backends.cudnn.allow_tf32
