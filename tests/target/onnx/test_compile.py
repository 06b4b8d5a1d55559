"""Programs are plain enough for torch.compile: in one piece, with the same values and gradients.

The backend that only captures forward and backward stands for the others, which need a compiler.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
import torch
from test_device_strict import convolutional, preprocessing, quantised, transformer

from robaudit.target.onnx import import_onnx


@pytest.mark.parametrize("build", [convolutional, transformer, quantised, preprocessing])
def test_a_program_compiles_whole(build: Callable[[], onnx.ModelProto]) -> None:
    model = build()
    shape = tuple(d.dim_value or 2 for d in model.graph.input[0].type.tensor_type.shape.dim)
    program = import_onnx(model, "y").graph_module(shape)
    compiled = torch.compile(program, backend="aot_eager", fullgraph=True)
    x = torch.randn(shape, requires_grad=True)
    answers, slopes = [], []
    for run in (program, compiled):
        (scores,) = run(x)
        answers.append(scores)
        slopes.append(torch.autograd.grad(scores.square().sum(), x)[0])
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(*slopes)
    assert bool(slopes[0].any())
