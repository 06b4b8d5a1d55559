"""Every operator's gradient against central differences in float64, or the reason why it has none."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from gradient_case import GradientCase

from robaudit.target.onnx import import_onnx
from robaudit.target.onnx.linear import INTERNAL
from robaudit.target.onnx.registry import registered

MODULES = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("cases_*.py"))]
CASES: list[GradientCase] = [case for module in MODULES for case in module.CASES]
NO_GRADIENT: dict[tuple[str, str], str] = {
    key: reason for module in MODULES for key, reason in getattr(module, "NO_GRADIENT", {}).items()
}


def test_every_operator_has_a_case_or_a_reason() -> None:
    told = {(case.domain, case.op) for case in CASES} | NO_GRADIENT.keys()
    in_files = {key for key in registered() if key[0] != INTERNAL}  # ours stand for formulas tested elsewhere
    assert sorted(in_files - told) == []
    assert sorted(told - set(registered())) == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_equals_central_differences(case: GradientCase) -> None:
    assert any((n.domain, n.op_type) == (case.domain, case.op) for n in case.model.graph.node)
    module = import_onnx(case.model, case.model.graph.output[0].name).double()
    x = torch.tensor(case.x, dtype=torch.float64, requires_grad=True)
    program = module.graph_module(x.shape, torch.float64)
    assert torch.autograd.gradcheck(lambda v: program(v)[0], (x,), eps=1e-6, atol=1e-6, rtol=1e-4)
