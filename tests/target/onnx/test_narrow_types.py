"""Types that torch lacks: values, conversions, constants, inputs and outputs, against NumPy's and ONNX's own."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model, one_op

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.onnx import element_types, import_onnx, narrow
from robaudit.target.onnx.casting import whole

FLOAT, HALF, DOUBLE, UINT8 = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "UINT8"))
FLOATS = {
    element_types.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    element_types.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    element_types.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    element_types.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    element_types.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    element_types.FLOAT6E2M3: ml_dtypes.float6_e2m3fn,
    element_types.FLOAT6E3M2: ml_dtypes.float6_e3m2fn,
}
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, 1e-45], np.float32)


def many() -> np.ndarray:
    """Numbers of all sizes, halves between neighbours among them."""
    rng = np.random.default_rng(0)
    spread = rng.standard_normal(20_000) * np.exp2(rng.integers(-24, 20, 20_000))
    halves = np.arange(-600, 600) / 16
    return np.concatenate([spread, halves, halves * 1024, halves / 4096, SPECIAL]).astype(np.float32)


@pytest.mark.parametrize("code", FLOATS, ids=lambda code: FLOATS[code].__name__)
def test_rounding_is_that_of_the_type(code: int) -> None:
    x = many()
    expected = x.astype(FLOATS[code]).astype(np.float32)
    found = narrow.rounded(torch.from_numpy(x), code, saturate=False).numpy()
    np.testing.assert_array_equal(found, expected)
    finite = np.isfinite(x)
    largest = narrow.FORMATS[code].largest
    saturated = narrow.rounded(torch.from_numpy(x), code, saturate=True).numpy()
    np.testing.assert_array_equal(saturated[finite], np.clip(x, -largest, largest).astype(FLOATS[code])[finite])
    assert saturated[x == np.inf] == largest


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [True, False])
def test_powers_of_two_round_as_told(mode: str, saturate: bool) -> None:
    x = np.abs(np.concatenate([many(), np.float32([3.4e38, 1.2e-38, 5.9e-39, 8e-39])]))
    expected = onnx.numpy_helper.to_float8e8m0(x, saturate, mode).astype(np.float32)
    found = narrow.power_of_two(torch.from_numpy(x), mode, saturate=saturate).numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["uint2", "int2", "uint4", "int4", "uint16", "int16", "uint32", "int32"])
def test_integers_wrap_around(name: str) -> None:
    code = getattr(element_types, name.upper(), None) or getattr(onnx.TensorProto, name.upper())
    dtype = getattr(ml_dtypes, name, None) or np.dtype(name)
    x = np.arange(-70_000, 70_000, 7)
    expected = x.astype(dtype).astype(np.int64)
    np.testing.assert_array_equal(whole(torch.from_numpy(x), code).long().numpy(), expected)
    fractions = np.array([-1.9, -0.5, 0.5, 1.9], np.float32)
    expected = fractions.astype(np.int64).astype(dtype).astype(np.int64)
    np.testing.assert_array_equal(whole(torch.from_numpy(fractions), code).long().numpy(), expected)


@pytest.mark.parametrize("source", [FLOAT, HALF, DOUBLE])
@pytest.mark.parametrize("target", [UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32, onnx.TensorProto.BOOL])
def test_conversions_agree_with_onnx_runtime(source: int, target: int) -> None:
    kind = helper.tensor_dtype_to_np_dtype(source)
    x = np.array([-1.5, -0.5, 0.0, 0.4, 0.99, 1.0, 126.5, 127.0], kind)
    x = x if target != UINT8 else np.abs(x)
    model = one_op("Cast", (8,), dtype=source, out_type=target, to=target)
    y = import_onnx(model, "y")(torch.from_numpy(x))
    expected = answers(model, x)
    assert str(y.dtype).removeprefix("torch.") == expected.dtype.name
    np.testing.assert_array_equal(y.numpy(), expected)


def test_the_type_to_become_may_be_anothers() -> None:
    like = np.array([1.0], np.float32).astype(ml_dtypes.float8_e4m3fn)
    y = import_onnx(one_op("CastLike", (3,), like, opset=19, out_type=element_types.FLOAT8E4M3FN), "y")
    assert y(torch.tensor([0.3, 1e6, -3.3])).tolist() == [0.3125, 448.0, -3.25]


def test_a_type_that_travels_through_other_operators_is_known() -> None:
    nodes = [
        helper.make_node("Reshape", ["zeros", "shape"], ["flat"]),
        helper.make_node("Gather", ["flat", "first"], ["z"]),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {
        "zeros": np.zeros((1, 2), np.uint16),
        "shape": np.array([2]),
        "first": np.array(0),
        "s": np.array(1.0, np.float32),
    }
    model = make_model(nodes, (3,), constants, opset=21)
    assert import_onnx(model, "y")(torch.tensor([-5.0, 40_000.4, 70_000.0])).tolist() == [0.0, 40_000.0, 65_535.0]


def test_a_zero_point_of_16_bits_may_be_data() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["z"], to=onnx.TensorProto.UINT16),
        helper.make_node("QuantizeLinear", ["v", "s", "z"], ["q"]),
        helper.make_node("Cast", ["q"], ["y"], to=FLOAT),
    ]
    constants = {"v": np.array([1.0, 1e5], np.float32), "s": np.array(1.0, np.float32)}
    model = make_model(nodes, (), constants, opset=21)
    assert import_onnx(model, "y").graph_module(())(torch.tensor(300.0))[0].tolist() == [301.0, 65_535.0]


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2, *list(FLOATS.values())[:5]]
)
def test_weights_of_few_bits(dtype: type) -> None:
    rng = np.random.default_rng(1)
    weight = rng.uniform(0 if dtype.__name__.startswith("u") else -2, 2, (6, 4)).astype(dtype)
    scale = rng.uniform(0.1, 2, (3, 4)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["real"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "real"], ["y"]),
    ]
    model = make_model(nodes, (3, 6), {"w": weight, "s": scale}, opset=25)
    x = rng.standard_normal((3, 6)).astype(np.float32)
    expected = x @ (weight.astype(np.float32) * np.repeat(scale, 2, 0))
    np.testing.assert_allclose(import_onnx(model, "y")(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("code", [UINT8, onnx.TensorProto.INT16, element_types.UINT4, element_types.INT2])
@pytest.mark.parametrize("blocked", [False, True])
def test_quantisers_agree_with_the_reference(code: int, blocked: bool) -> None:
    rng = np.random.default_rng(2)
    dtype = helper.tensor_dtype_to_np_dtype(code)
    x = rng.uniform(-9, 9, (1, 4, 6)).astype(np.float32)
    shape = (1, 4, 2) if blocked else (6,)
    constants = {
        "s": rng.uniform(0.1, 2, shape).astype(np.float32),
        "z": rng.integers(0, 2, shape).astype(dtype),
    }
    attributes = {"axis": 2, **({"block_size": 3} if blocked else {})}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    model = make_model(nodes, (1, 4, 6), constants, opset=25)
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(import_onnx(model, "y")(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize("saturate", [0, 1])
def test_quantisers_to_8_bit_floats(saturate: int) -> None:
    constants = {"s": np.array(0.5, np.float32), "z": np.zeros((), ml_dtypes.float8_e4m3fn)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], saturate=saturate),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = make_model(nodes, (5,), constants, opset=21)
    x = np.array([0.3, -1.7, 100.0, 300.0, -1e4], np.float32)
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(import_onnx(model, "y")(torch.from_numpy(x)).numpy(), expected)


def test_bits_are_read_as_another_type() -> None:
    model = one_op("BitCast", (3,), opset=26, out_type=onnx.TensorProto.UINT32, to=onnx.TensorProto.UINT32)
    y = import_onnx(model, "y")(torch.tensor([1.0, -2.0, 0.0]))
    assert y.tolist() == np.array([1.0, -2.0, 0.0], np.float32).view(np.uint32).tolist()


def test_strings_are_no_numbers() -> None:
    model = one_op("Cast", (3,), to=onnx.TensorProto.STRING, out_type=onnx.TensorProto.STRING)
    with pytest.raises(UnsupportedOperatorError, match="type 8"):
        import_onnx(model, "y")(torch.ones(3))


def half_precision(dtype: int) -> onnx.ModelProto:
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=dtype),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "b"], ["z"]),
        helper.make_node("Where", ["keep", "z", "least"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=FLOAT),
    ]
    constants = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(kind),
        "g": (rng.standard_normal((64, 5)) / 8).astype(kind),
        "b": rng.standard_normal(5).astype(kind),
        "keep": np.array([True, True, True, True, False]),
        "least": np.array([-65504.0], np.float32).astype(kind),
    }
    return make_model(nodes, ("N", 3, 6, 6), constants, opset=22)


@pytest.mark.parametrize("dtype", [HALF, onnx.TensorProto.BFLOAT16])
def test_half_precision_and_its_wide_twin(dtype: int) -> None:
    model = half_precision(dtype)
    module = import_onnx(model, "y")
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((6, 3, 6, 6)).astype(np.float32))
    wide = module.float_twin()
    assert all(b.dtype == torch.float32 for b in wide.buffers() if b.is_floating_point())
    y, exact = module(x), wide(x)
    assert y.dtype == exact.dtype == torch.float32
    assert exact.isfinite().all()
    assert exact[:, 4].eq(0).all(), "the mask hides its class in float32 as well"
    eps = torch.finfo(torch.float16 if dtype == HALF else torch.bfloat16).eps
    assert float((y - exact).abs().max()) < 16 * eps
    if dtype == HALF:  # ONNX Runtime has no kernels for bfloat16 on CPUs
        expected = answers(model, x.numpy())
        assert float(np.abs(exact.numpy() - expected).max()) < 16 * eps
    value = x.clone().requires_grad_()
    wide(value)[:, 0].sum().backward()
    assert value.grad is not None
    assert float(value.grad.abs().max()) > 0
