"""Every operator family against ONNX Runtime, and its gradient against finite differences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_graphs import answers, make_model, one_op, runtime

from robaudit.target.onnx import coverage, import_onnx


class Case(NamedTuple):
    op: str
    shape: tuple[int, ...]
    constants: tuple[Any, ...] = ()
    opset: int = 17
    attributes: dict[str, Any] = {}  # noqa: RUF012  # never written to
    smooth: bool = True
    positive: bool = False
    out_type: int = onnx.TensorProto.FLOAT

    def __str__(self) -> str:
        told = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}-{self.opset}({'x'.join(map(str, self.shape))};{told})"


def f(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(f(*shape)) + 0.5


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def s(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


IMAGE = (2, 3, 7, 8)
INT = onnx.TensorProto.INT64
BOOL = onnx.TensorProto.BOOL

ELEMENTWISE = [
    *[Case(op, (2, 5)) for op in ("Neg", "Abs", "Reciprocal", "Exp", "Erf", "Identity")],
    *[Case(op, (2, 5)) for op in ("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh")],
    *[Case(op, (2, 5), positive=True) for op in ("Sqrt", "Log")],
    *[Case(op, (2, 5), smooth=False) for op in ("Floor", "Ceil", "Round", "Sign")],
    *[Case(op, (2, 3, 4), (f(3, 1),)) for op in ("Add", "Sub", "Mul", "Div")],
    *[Case(op, (2, 3), (s(0.3),)) for op in ("Add", "Sub", "Mul", "Div")],
    Case("Pow", (2, 3), (s(1.7),), positive=True),
    Case("Pow", (2, 3), (s(2.0),)),
    *[Case(op, (2, 3), (f(2, 3), f(1, 3))) for op in ("Sum", "Mean", "Max", "Min")],
    Case("Clip", (3, 5), (s(-0.5), s(0.7))),
    Case("Clip", (3, 5), (None, s(0.7))),
    Case("Clip", (3, 5), (), 6, {"min": -0.5, "max": 0.5}),
    Case("Clip", (3, 5), (), 10, {"min": -0.5}),
    *[
        Case(op, (3, 5), (f(3, 5),), smooth=False, out_type=BOOL)
        for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ],
    Case("Mod", (3, 5), (positive(3, 5),), 17, {"fmod": 1}, smooth=False),
    Case("Cast", (3, 5), (), 17, {"to": INT}, smooth=False, out_type=INT),
    Case("Dropout", (3, 5)),
    Case("Dropout", (3, 5), (), 9),
]
ACTIVATION = [
    *[Case(op, (3, 5)) for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish")],
    *[Case(op, (3, 5)) for op in ("LeakyRelu", "Elu", "Selu", "ThresholdedRelu", "HardSigmoid", "Celu")],
    Case("LeakyRelu", (3, 5), (), 17, {"alpha": 0.3}),
    Case("Mish", (3, 5), (), 18),
    Case("Shrink", (3, 5), (), 17, {"lambd": 0.4, "bias": 0.1}, smooth=False),
    Case("PRelu", IMAGE, (f(3, 1, 1),)),
    Case("Gelu", (3, 5), (), 20),
    Case("Gelu", (3, 5), (), 20, {"approximate": "tanh"}),
    *[Case(op, (2, 3, 4), (), v) for op in ("Softmax", "LogSoftmax") for v in (9, 11, 13)],
    Case("Softmax", (2, 3, 4), (), 11, {"axis": 2}),
    Case("Softmax", (2, 3, 4), (), 13, {"axis": 1}),
    Case("Hardmax", (2, 3, 4), (), 11, smooth=False),
    Case("Hardmax", (2, 3, 4), (), 13, smooth=False),
]
LINEAR = [
    Case("MatMul", (2, 3, 4), (f(4, 5),)),
    Case("MatMul", (2, 3, 4), (f(2, 4, 5),)),
    Case("Gemm", (3, 4), (f(4, 5), f(5))),
    Case("Gemm", (3, 4), (f(5, 4), f(3, 5)), 17, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", (4, 3), (f(5, 4), f(1, 5)), 17, {"transA": 1, "transB": 1, "alpha": 1.5}),
    Case("Gemm", (3, 4), (f(4, 5), f(3, 1))),
    Case("Gemm", (3, 4), (f(4, 5), s(0.5)), 11, {"beta": 0.1}),
    Case("Gemm", (3, 4), (f(4, 5),), 13),
    Case("Einsum", (2, 3, 4), (f(5, 4),), 17, {"equation": "bij,kj->bik"}),
]
CONVOLUTION = [
    Case("Conv", IMAGE, (f(4, 3, 3, 3), f(4)), 17, {"pads": [1, 1, 1, 1]}),
    Case("Conv", IMAGE, (f(4, 3, 3, 3),), 17, {"pads": [0, 1, 2, 1], "strides": [2, 2]}),
    Case("Conv", IMAGE, (f(3, 1, 3, 3),), 17, {"group": 3, "dilations": [2, 2]}),
    *[
        Case("Conv", IMAGE, (f(4, 3, 3, 3),), 17, {"auto_pad": mode, "strides": [2, 3]})
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ],
    Case("Conv", (2, 3, 9), (f(4, 3, 3),), 11),
    Case("ConvTranspose", (2, 3, 4, 4), (f(3, 2, 3, 3), f(2)), 11, {"strides": [2, 2], "pads": [1, 0, 1, 1]}),
    Case(
        "ConvTranspose",
        (2, 3, 4, 4),
        (f(3, 2, 3, 3), f(2)),
        11,
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    Case(
        "ConvTranspose",
        (2, 3, 4, 4),
        (f(3, 2, 3, 3),),
        11,
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
]
POOLING = [
    *[
        Case(op, IMAGE, (), 17, {"kernel_shape": [3, 3], **more})
        for op in ("MaxPool", "AveragePool")
        for more in (
            {},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [0, 1, 2, 0]},
            {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
            {"strides": [3, 2], "auto_pad": "SAME_LOWER"},
            {"strides": [2, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
            {"strides": [2, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1},
        )
    ],
    Case("MaxPool", IMAGE, (), 12, {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    Case("AveragePool", IMAGE, (), 17, {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "count_include_pad": 1}),
    Case("AveragePool", IMAGE, (), 17, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", IMAGE, (), 19, {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("MaxPool", (2, 3, 9), (), 12, {"kernel_shape": [3], "strides": [2]}),
    Case("GlobalAveragePool", IMAGE),
    Case("GlobalMaxPool", IMAGE),
]
NORMALISATION = [
    *[Case("BatchNormalization", IMAGE, (f(3), f(3), f(3), positive(3)), v) for v in (9, 15)],
    Case("LayerNormalization", (2, 3, 4), (f(4), f(4)), 17),
    Case("LayerNormalization", (2, 3, 4), (f(3, 4), f(3, 4)), 17, {"axis": 1}),
    Case("LayerNormalization", (2, 3, 4), (f(4),), 17, {"epsilon": 1e-2}),
    Case("InstanceNormalization", IMAGE, (f(3), f(3))),
    Case("GroupNormalization", (2, 4, 5), (f(4), f(4)), 21, {"num_groups": 2}),
    Case("LRN", (2, 6, 3, 3), (), 13, {"size": 3, "alpha": 0.3}),
    Case("LRN", (2, 6, 3, 3), (), 13, {"size": 5, "alpha": 0.3, "bias": 2.0}),
    Case("LpNormalization", (2, 5), (), 17, {"p": 2, "axis": 1}),
    Case("MeanVarianceNormalization", (2, 3, 4, 4), (), 13),
]
REDUCTION = [
    *[
        Case(op, (2, 3, 4), (), v, {"axes": [1, -1], "keepdims": v % 2}, positive=True)
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
        for v in (11, 12)
    ],
    *[
        Case(op, (2, 3, 4), (), 13, {"axes": [1], "keepdims": 0}, positive=True)
        for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean")
    ],
    *[Case(op, (2, 3, 4), (i(-1),), 18) for op in ("ReduceMean", "ReduceMax", "ReduceL2")],
    Case("ReduceSum", (2, 3, 4), (i(0, 2),), 13),
    Case("ReduceSum", (2, 3, 4), (), 13, {"noop_with_empty_axes": 1}),
    Case("ReduceMean", (2, 3, 4), (), 18),
    *[Case(op, (3, 6), (), 13, {"axis": 1}, smooth=False, out_type=INT) for op in ("ArgMax", "ArgMin")],
    Case("ArgMax", (3, 6), (), 13, {"axis": -1, "keepdims": 0}, smooth=False, out_type=INT),
    Case("TopK", (3, 6), (i(2),), 11, {"axis": 1}),
    Case("TopK", (3, 6), (i(4),), 11, {"axis": -1, "largest": 0}),
    Case("CumSum", (3, 6), (np.array(1, dtype=np.int64),), 14, {"exclusive": 1, "reverse": 1}),
]
SHAPE = [
    Case("Reshape", (2, 3, 4), (i(0, -1),)),
    Case("Reshape", (2, 3, 4), (i(2, 2, -1),), 14, {"allowzero": 1}),
    Case("Flatten", (2, 3, 4), (), 13, {"axis": 2}),
    Case("Flatten", (2, 3, 4), (), 13, {"axis": -1}),
    Case("Transpose", (2, 3, 4), (), 13, {"perm": [2, 0, 1]}),
    Case("Transpose", (2, 3, 4)),
    Case("Squeeze", (2, 1, 3, 1), (i(1, -1),), 13),
    Case("Squeeze", (2, 1, 3, 1), (), 11, {"axes": [1]}),
    Case("Squeeze", (2, 1, 3, 1), (), 13),
    Case("Unsqueeze", (2, 3), (i(0, -1),), 13),
    Case("Unsqueeze", (2, 3), (), 11, {"axes": [1, 3]}),
    Case("Concat", (2, 3), (f(2, 2),), 13, {"axis": -1}),
    Case("Slice", (4, 6), (i(1, 0), i(3, 2**62), i(0, 1), i(1, 2))),
    Case("Slice", (4, 6), (i(-1), i(-(2**62)), i(1), i(-1))),
    Case("Slice", (4, 6), (i(-2), i(1), i(1), i(-2))),
    Case("Slice", (4, 6), (), 9, {"starts": [1, -4], "ends": [4, -1]}),
    Case("Expand", (3, 1), (i(2, 1, 4),)),
    Case("Tile", (2, 3), (i(2, 3),)),
    Case("Split", (2, 7), (), 18, {"axis": 1, "num_outputs": 1}),
    Case("DepthToSpace", (2, 8, 3, 3), (), 13, {"blocksize": 2}),
    Case("DepthToSpace", (2, 8, 3, 3), (), 13, {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (2, 2, 4, 6), (), 13, {"blocksize": 2}),
    Case("Trilu", (2, 4, 4), (np.array(1, dtype=np.int64),), 14, {"upper": 0}),
    Case("Shape", (2, 4, 4), (), 15, {"start": 1}, smooth=False, out_type=INT),
    Case("Size", (2, 4, 4), (), 13, smooth=False, out_type=INT),
]
INDEXING = [
    Case("Gather", (2, 5), (i(0, -1, 2),), 13, {"axis": 1}),
    Case("Gather", (2, 5), (np.array(-2, dtype=np.int64),), 13, {"axis": 1}),
    Case("Gather", (2, 5), (np.array([[0, 1], [1, 1]]),), 13),
    Case("GatherElements", (2, 5), (np.array([[0, -1], [2, 2]]),), 13, {"axis": 1}),
    Case("GatherND", (2, 5), (np.array([[0, 1], [1, -1]]),), 13),
    Case("GatherND", (2, 5), (np.array([[0], [4]]),), 13, {"batch_dims": 1}),
    Case("ScatterND", (4, 3), (np.array([[1], [3]]), f(2, 3)), 13),
    Case("ScatterElements", (4, 3), (np.array([[1, 0, 2]]), f(1, 3)), 13),
    Case("Pad", (2, 3, 5), (i(0, 0, 1, 0, 1, 2), s(0.5)), 13),
    Case("Pad", (2, 3, 5), (i(0, 0, 1, 0, 0, -2),), 13),
    Case("Pad", (2, 3, 5), (i(0, 0, 0, 0, 0, 0),), 13),
    Case("Pad", (2, 3, 5), (i(1, 2), s(0.0), i(2)), 18),
    Case("Pad", (2, 3, 5), (), 9, {"pads": [0, 0, 1, 0, 0, 1], "value": 0.25}),
    *[Case("Pad", (2, 3, 5), (i(0, 1, 2, 0, 1, 1),), 13, {"mode": mode}) for mode in ("reflect", "edge")],
    Case("Pad", (2, 3, 5), (i(0, 1, 2, 0, 1, 1),), 19, {"mode": "wrap"}),
]
SCALES, SIZES = np.array([1, 1, 1.6, 0.55], np.float32), i(2, 3, 5, 11)
RESIZE = [
    *[
        Case("Resize", IMAGE, (None, SCALES), 13, {"mode": mode, "coordinate_transformation_mode": place})
        for mode in ("nearest", "linear", "cubic")
        for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ],
    *[Case("Resize", IMAGE, (None, None, SIZES), 18, {"mode": mode}) for mode in ("nearest", "linear", "cubic")],
    Case("Resize", IMAGE, (None, None, i(4, 3)), 18, {"mode": "linear", "antialias": 1, "axes": [2, 3]}),
    Case("Resize", IMAGE, (np.array([1, 1, 2, 2], np.float32),), 10, {"mode": "nearest"}),
    Case("Upsample", IMAGE, (np.array([1, 1, 2, 3], np.float32),), 9, {"mode": "nearest"}),
]
CASES = [
    *ELEMENTWISE,
    *ACTIVATION,
    *LINEAR,
    *CONVOLUTION,
    *POOLING,
    *NORMALISATION,
    *REDUCTION,
    *SHAPE,
    *INDEXING,
    *RESIZE,
]


def build(case: Case) -> onnx.ModelProto:
    outputs = 2 if case.op == "TopK" else 1
    return one_op(
        case.op,
        case.shape,
        *case.constants,
        opset=case.opset,
        outputs=outputs,
        out_type=case.out_type,
        **case.attributes,
    )


def sample(case: Case) -> np.ndarray:
    x = np.random.default_rng(7).standard_normal(case.shape).astype(np.float32)
    return np.abs(x) + 0.5 if case.positive else x


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_gives_what_onnx_runtime_gives(case: Case) -> None:
    model, x = build(case), sample(case)
    expected = answers(model, x)
    (y,) = import_onnx(model).graph_module(case.shape)(torch.from_numpy(x))
    assert tuple(y.shape) == expected.shape
    assert y.numpy().dtype == expected.dtype
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=3e-6)
    assert coverage(model) == []


@pytest.mark.parametrize("case", [case for case in CASES if case.smooth], ids=str)
def test_operator_has_the_gradient_of_finite_differences(case: Case) -> None:
    module = import_onnx(build(case)).double()
    x = torch.from_numpy(sample(case)).double().requires_grad_()
    program = module.graph_module(case.shape, torch.float64)
    assert torch.autograd.gradcheck(lambda value: program(value)[0], x, fast_mode=x.numel() > 64)


def test_split_gives_the_last_part_what_remains() -> None:
    node = helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3)
    model = make_model([node], (2, 7), opset=18, outputs=dict.fromkeys("abc", onnx.TensorProto.FLOAT))
    x = f(2, 7)
    ours = import_onnx(model).graph_module((2, 7))(torch.from_numpy(x))
    for mine, theirs in zip(ours, runtime(model).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs)


def test_ties_go_to_the_first() -> None:
    x = np.array([[1.0, 3.0, 3.0, 0.0, 3.0]], dtype=np.float32)
    for last in (0, 1):
        model = one_op("ArgMax", (1, 5), opset=13, out_type=INT, axis=1, select_last_index=last)
        (y,) = import_onnx(model).graph_module((1, 5))(torch.from_numpy(x))
        np.testing.assert_array_equal(y.numpy(), answers(model, x))


def test_a_zero_vector_keeps_finite_gradients() -> None:
    for op, attributes in (("ReduceL2", {"axes": [1]}), ("LpNormalization", {"axis": 1, "p": 2})):
        program = import_onnx(one_op(op, (2, 3), opset=13, **attributes)).graph_module((2, 3))
        x = torch.zeros(2, 3, requires_grad=True)
        program(x)[0].sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


def test_explicit_broadcasting_before_opset_7() -> None:
    x, vector = f(2, 3, 4), f(3)
    model = one_op("Add", (2, 3, 4), vector, opset=6, broadcast=1, axis=1)
    (y,) = import_onnx(model).graph_module((2, 3, 4))(torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), x + vector[:, None], rtol=1e-6)


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("transform", ["half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"])
def test_resize_finds_its_positions_in_single_precision_as_onnx_runtime(mode: str, transform: str) -> None:
    """On large images a coordinate in double precision would differ in the fifth digit."""
    model = one_op(
        "Resize",
        (1, 1, 288, 57),
        None,
        None,
        i(1, 1, 224, 32),
        opset=19,
        mode=mode,
        coordinate_transformation_mode=transform,
    )
    x = f(1, 1, 288, 57)
    found = import_onnx(model, "y").graph_module(x.shape)(torch.from_numpy(x))[0]
    np.testing.assert_allclose(found, answers(model, x), rtol=0, atol=5e-6)
