"""ONNX Runtime's own operators against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from contrib_cases import FLOAT_CASES
from contrib_graphs import FLOAT, MS, Contrib, f, i32
from onnx import helper
from onnx_graphs import make_model, runtime

from robaudit.target.onnx import coverage, import_onnx


@pytest.mark.parametrize("case", FLOAT_CASES, ids=str)
def test_operator_answers_as_onnx_runtime(case: Contrib) -> None:
    x = torch.from_numpy(case.input())
    expected = runtime(case.reference_model(), optimise=False).run(None, {"x": x.numpy()})
    module = import_onnx(case.model())
    with torch.no_grad():
        results = module.graph_module(case.shape, x.dtype)(x)
    assert len(results) == len(expected)
    for y, wanted in zip(results, expected, strict=True):
        assert y.numpy().dtype == wanted.dtype
        assert y.shape == wanted.shape
        np.testing.assert_allclose(y.numpy(), wanted, rtol=0, atol=case.tolerance * np.abs(wanted).max())


def test_values_known_at_import_may_shape_the_graph() -> None:
    found = np.array([7, 3, 7, 9, 3], np.float32)
    nodes = [
        helper.make_node("Unique", ["found"], ["values", "inverse", "counts"], domain=MS),
        helper.make_node("Range", ["a", "b", "c"], ["range"], domain=MS),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    ends = {"a": np.array(1.0, np.float32), "b": np.array(4.0, np.float32), "c": np.array(0.5, np.float32)}
    whole = onnx.TensorProto.INT64
    model = make_model(
        nodes,
        (2,),
        {"found": found, **ends},
        outputs={"y": FLOAT, "values": FLOAT, "inverse": whole, "counts": whole, "range": FLOAT},
        domains={MS: 1},
    )
    expected = runtime(model, optimise=False).run(None, {"x": f(2)})
    results = import_onnx(model).graph_module((2,))(torch.from_numpy(f(2)))
    for y, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(y.numpy(), wanted)


@pytest.mark.parametrize(
    "case",
    [
        Contrib("FusedConv", (1, 3, 4, 4), (f(2, 3, 3, 3),), {"activation": "Unheard"}),
        Contrib("BiasDropout", (2, 3), (f(3), None, None, np.array(True))),
        Contrib("Attention", (2, 4, 6), (f(6, 36), f(36), i32(*range(8)))),
        Contrib("CDist", (2, 3), (f(4, 3),), {"metric": "cosine"}),
        Contrib("Unique", (3,)),
    ],
    ids=str,
)
def test_variant_without_translation_is_refused(case: Contrib) -> None:
    (told,) = coverage(case.model())
    assert told.startswith(f"com.microsoft::{case.op}-1 (")
