"""Programs are plain enough for torch.compile: in one piece, with the same values and gradients.

The backend that only captures forward and backward stands for the others, which need a compiler.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
import torch
from network_graphs import convolutional, preprocessing, quantised, transformer

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


def test_compiled_programs_serve_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the capturing backend; what is compiled anew for every size would be slower than not at all."""
    compiled: list[bool] = []
    original = torch.compile

    def capture(program: torch.nn.Module, *, dynamic: bool) -> Callable[..., object]:
        compiled.append(dynamic)
        return original(program, backend="aot_eager", dynamic=dynamic, fullgraph=True)

    monkeypatch.setattr(torch, "compile", capture)
    module = import_onnx(convolutional(), "y")
    x = torch.randn(5, 3, 16, 16)
    plain = module(x)
    module.use_compiler()
    for size in (5, 3, 2):
        part = x[:size].clone().requires_grad_()
        scores = module(part)
        torch.testing.assert_close(scores, plain[:size])
        assert bool(torch.autograd.grad(scores.square().sum(), part)[0].any())
    assert compiled == [True]
