"""ONNX Runtime's own operators against ONNX Runtime."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from contrib_cases import FLOAT_CASES
from contrib_graphs import FLOAT, MS, Contrib, f, i32, scalar
from contrib_quantised_cases import QUANTISED_CASES
from onnx import helper
from onnx_graphs import answers, make_model, runtime

from robaudit.target.onnx import coverage, import_onnx


@pytest.mark.parametrize("case", [*FLOAT_CASES, *QUANTISED_CASES], ids=str)
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
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(y.numpy(), wanted, rtol=0, atol=case.tolerance * np.abs(wanted).max())
            continue
        off = np.abs(y.numpy().astype(np.int64) - wanted)
        assert off.max() <= case.rarely_off
        assert off.mean() < 0.01


def halved(case: Contrib) -> Contrib:
    """The same call in half precision."""
    half = onnx.TensorProto.FLOAT16
    constants = [None if c is None else c.astype(np.float16) if c.dtype == np.float32 else c for c in case.constants]
    more = tuple(half if code == FLOAT else code for code in case.more)
    x = case.input().astype(np.float16)
    return replace(case, constants=tuple(constants), x=x, out_type=half, more=more)


def halves() -> list[Contrib]:
    """One case of every operator over floats that ONNX Runtime runs in half precision as well."""
    lacking = ("CDist", "UnfoldTensor", "GridSample", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QuantizeLinear")
    first: dict[str, Contrib] = {}
    for case in (*FLOAT_CASES, *QUANTISED_CASES):
        if case.reference is None and case.domain and case.op not in lacking and case.input().dtype == np.float32:
            first.setdefault(case.op, case)
    return list(first.values())


@pytest.mark.parametrize("case", halves(), ids=str)
def test_operator_answers_in_half_precision(case: Contrib) -> None:
    narrow = halved(case)
    x = narrow.input()
    expected = answers(narrow.model(), x, optimise=False)
    (y, *_) = import_onnx(narrow.model()).graph_module(case.shape, torch.float16)(torch.from_numpy(x))
    assert y.dtype == torch.float16
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=2e-3 * np.abs(expected).max())


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


@pytest.mark.parametrize("name", ["UINT16", "INT16", "UINT4", "INT4"])
def test_quantisers_know_types_that_tensors_lack(name: str) -> None:
    code = getattr(onnx.TensorProto, name)
    zero = np.array(3, helper.tensor_dtype_to_np_dtype(code))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], domain=MS),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], domain=MS),
    ]
    model = make_model(nodes, (64,), {"scale": scalar(0.05), "zero": zero}, opset=21, domains={MS: 1})
    x = f(64) * 50
    (y,) = import_onnx(model).graph_module((64,))(torch.from_numpy(x))
    np.testing.assert_array_equal(y.numpy(), answers(model, x, optimise=False))


def test_masks_of_single_images_serve_a_batch_without_a_warning() -> None:
    """A mask made for one sample: the batch runs by vmap, attention included."""
    attention = helper.make_node("Attention", ["x", "w", "b", "mask"], ["y"], domain=MS, num_heads=3)
    held = {"w": f(6, 36), "b": f(36), "mask": i32(3)}
    model = make_model([attention], (1, 4, 6), held, domains={MS: 1})
    module = import_onnx(model, "y")
    x = f(3, 4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = module(torch.from_numpy(x)).numpy()
    assert module.batching == "vmap"
    expected = np.concatenate([answers(model, row[None], optimise=False) for row in x])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
