"""How a batch runs is decided where rounding cannot decide it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from contrib_graphs import f
from onnx import helper
from onnx_graphs import make_model
from torch import Tensor

from robaudit.target.onnx import OnnxModule, batching, import_onnx


@pytest.mark.parametrize(("narrow", "expected"), [(np.float16, "direct"), (np.float32, "loop")])
def test_halves_inside_a_float_file_are_judged_in_double(
    narrow: type, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(narrow))
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=code),
        helper.make_node("MatMul", ["h", "w"], ["z"]),
        helper.make_node("Cast", ["z"], ["y"], to=1),
    ]
    module = import_onnx(make_model(nodes, ("N", 4), {"w": f(4, 2).astype(narrow)}), "y")

    def rounding(module: OnnxModule, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> str:
        """As if the batch's last bits always differed from the single images'."""
        return "direct" if x.dtype == torch.float64 else "loop"

    monkeypatch.setattr(batching, "_fits", rounding)
    assert module.calibrate_batching((4,)) == expected


def test_one_program_serves_every_batch_though_a_repeated_token_is_quantised() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["size"], axis=0),
        helper.make_node("Expand", ["token", "size"], ["tokens"]),
        helper.make_node("QuantizeLinear", ["tokens", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Concat", ["d", "x"], ["y"], axis=1),
    ]
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "rest": np.array([1, 4]),
        "token": np.array([[[0.3, -0.2, 0.7, 0.1]]], np.float32),
        "s": np.array(0.1, np.float32),
        "z": np.array(128, np.uint8),
    }
    module = import_onnx(make_model(nodes, ("N", 3, 4), constants), "y")
    for batch in (1, 2, 5):
        x = torch.rand(batch, 3, 4)
        torch.testing.assert_close(module(x)[:, 1:], x)
        torch.testing.assert_close(module(x)[:, 0], torch.tensor([[0.3, -0.2, 0.7, 0.1]]).expand(batch, 4))
    assert module.batching == "direct"
    assert module._general_program(torch.rand(2, 3, 4), {}) is not None
