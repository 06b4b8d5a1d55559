"""The standard operators' gradient cases have the values of ONNX Runtime, older forms included."""

from __future__ import annotations

import importlib
from functools import cache

import numpy as np
import pytest
import torch
from device_strict import Strict
from gradient_case import GradientCase
from onnx_graphs import answers
from torch import fx

from robaudit.target.onnx import import_onnx

FAMILIES = ("elementwise", "convolution", "normalisation", "shape", "sampling", "recurrent")
CASES: list[GradientCase] = [c for name in FAMILIES for c in importlib.import_module(f"cases_{name}").CASES]
IN_RUNTIME = [c for c in CASES if not c.domain and c.model.opset_import[0].version <= 24]
"""ONNX Runtime knows no newer opset; ONNX's own tests cover what is newer."""


@cache
def programs() -> dict[int, fx.GraphModule]:
    return {id(case): import_onnx(case.model).graph_module(case.x.shape) for case in CASES}


@pytest.mark.parametrize("case", IN_RUNTIME, ids=str)
def test_case_has_the_value_of_onnx_runtime(case: GradientCase) -> None:
    x = case.x.astype(np.float32)
    expected = answers(case.model, x)
    with torch.no_grad():
        (y,) = programs()[id(case)](torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=3e-6)


# Functions that are infinite, or have no finite slope, at zero.
SINGULAR = {"Acosh", "Div", "Log", "Mod", "Reciprocal", "ReduceLogSum", "Sqrt"}
WEIGHED = {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}
"""Divide by the sum of the weights."""


@pytest.mark.parametrize("case", [c for c in CASES if c.op not in SINGULAR | WEIGHED], ids=str)
def test_gradient_is_finite_at_zero(case: GradientCase) -> None:
    x = torch.zeros(case.x.shape, requires_grad=True)
    (y,) = programs()[id(case)](x)
    assert not y.isnan().any()
    (gradient,) = torch.autograd.grad(y.nan_to_num(0.0, 0.0, 0.0).sum(), x)
    assert torch.isfinite(gradient).all()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case_maps_over_samples(case: GradientCase) -> None:
    program = programs()[id(case)]
    x = torch.from_numpy(np.stack([case.x, 1.02 * case.x, 1.05 * case.x]).astype(np.float32)).requires_grad_()
    together = torch.func.vmap(lambda sample: program(sample)[0])(x)
    alone = torch.stack([program(sample)[0] for sample in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    finite = alone.detach().isfinite()
    (one,) = torch.autograd.grad(together[finite].sum(), x)
    (other,) = torch.autograd.grad(alone[finite].sum(), x)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case_never_waits_for_the_device(case: GradientCase) -> None:
    x = torch.from_numpy(case.x.astype(np.float32)).requires_grad_()
    with Strict():
        (y,) = programs()[id(case)](x)
        torch.autograd.grad(y.sum(), x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case_runs_in_half_precision(case: GradientCase) -> None:
    program = import_onnx(case.model).half().graph_module(case.x.shape, torch.float16)
    x = torch.from_numpy(case.x).half().requires_grad_()
    (y,) = program(x)
    assert y.dtype == torch.float16
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not gradient.isnan().any()
