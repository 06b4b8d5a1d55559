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
