"""The gradient through ONNX Runtime's own operators: straight through the rounding, and on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contrib_cases import FLOAT_CASES
from contrib_graphs import FLOAT, Contrib, f, scalar
from contrib_quantised_cases import QUANTISED_CASES, scales, whole, zero
from device_strict import strictly
from torch import Tensor

from robaudit.target.onnx import import_onnx

U8, I8 = np.uint8, np.int8
ZERO = zero(U8, 120)
OTHER = whole(U8, 2, 3, 6, 6)
WEIGHT = whole(I8, 4, 3, 3, 3)
MATRIX = whole(I8, 6, 5)
X_SCALE, Y_SCALE = 0.03, 0.5
"""The results' scale is wide, so that nothing saturates."""


class Step(NamedTuple):
    op: str
    shape: tuple[int, ...]
    constants: tuple[Any, ...]
    smooth: Callable[[Tensor], Tensor]
    attributes: dict[str, Any] = {}  # noqa: RUF012  # never written to
    at: int = 0

    def __str__(self) -> str:
        return self.op


def real(x: Tensor | np.ndarray) -> Tensor:
    return (torch.as_tensor(x).float() - 120) * X_SCALE


GIVEN = (scalar(X_SCALE), ZERO)
MADE = (scalar(Y_SCALE), ZERO)
IMAGE = (2, 3, 6, 6)
CHOICE = f(*IMAGE) > 0
WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}

STEPS = [
    Step("QLinearAdd", IMAGE, (*GIVEN, OTHER, *GIVEN, *MADE), lambda x: (real(x) + real(OTHER)) / Y_SCALE),
    Step("QLinearMul", IMAGE, (*GIVEN, OTHER, *GIVEN, *MADE), lambda x: real(x) * real(OTHER) / Y_SCALE),
    Step(
        "QLinearLeakyRelu",
        IMAGE,
        (*GIVEN, *MADE),
        lambda x: F.leaky_relu(real(x), 0.2) / Y_SCALE,
        {"alpha": 0.2},
    ),
    Step("QLinearSigmoid", IMAGE, (*GIVEN, *MADE), lambda x: torch.sigmoid(real(x)) / Y_SCALE),
    Step(
        "QLinearSoftmax",
        IMAGE,
        (*GIVEN, *MADE),
        lambda x: torch.softmax(real(x), 1) / Y_SCALE,
        {"opset": 13, "axis": 1},
    ),
    Step(
        "QLinearConcat",
        IMAGE,
        (*MADE, *GIVEN, OTHER, *GIVEN),
        lambda x: torch.cat([real(x), real(OTHER)], 1) / Y_SCALE,
        {"axis": 1},
        at=2,
    ),
    Step(
        "QLinearWhere",
        IMAGE,
        (CHOICE, *GIVEN, OTHER, *GIVEN, *MADE),
        lambda x: torch.where(torch.tensor(CHOICE), real(x), real(OTHER)) / Y_SCALE,
        at=1,
    ),
    Step(
        "QLinearAveragePool",
        IMAGE,
        (*GIVEN, *MADE),
        lambda x: F.avg_pool2d(real(x), 3, 1, 1, count_include_pad=False) / Y_SCALE,
        WINDOW,
    ),
    Step("QLinearGlobalAveragePool", IMAGE, (*GIVEN, *MADE), lambda x: real(x).mean((2, 3), keepdim=True) / Y_SCALE),
    Step(
        "QLinearReduceMean",
        IMAGE,
        (*GIVEN, *MADE),
        lambda x: real(x).mean(1) / Y_SCALE,
        {"axes": [1], "keepdims": 0},
    ),
    Step(
        "QLinearConv",
        (2, 6, 6, 3),
        (*GIVEN, WEIGHT, scalar(0.01), np.int8(0).reshape(()), scalar(2.0), ZERO),
        lambda x: F.conv2d(real(x).movedim(-1, 1), torch.tensor(WEIGHT) * 0.01, padding=1).movedim(1, -1) / 2.0,
        {**WINDOW, "channels_last": 1},
    ),
    Step(
        "QGemm",
        (4, 6),
        (*GIVEN, MATRIX, scalar(0.01), np.int8(3).reshape(()), None, scalar(2.0), ZERO),
        lambda x: real(x) @ ((torch.tensor(MATRIX).float() - 3) * 0.01) / 2.0,
    ),
    Step(
        "DynamicQuantizeMatMul",
        (4, 6),
        (MATRIX, scalar(0.01)),
        lambda x: x @ (torch.tensor(MATRIX) * 0.01),
    ),
    Step("QuantizeLinear", (4, 6), (scalar(2.0), ZERO), lambda x: x / 2.0),
]


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of a fixed weighting of the outputs."""
    point = x.clone().requires_grad_()
    y = function(point)
    if not y.requires_grad:
        return torch.zeros_like(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    (slope,) = torch.autograd.grad((y * weights).sum(), point)
    return slope


def program(step: Step, rule: str | None = None) -> Callable[[Tensor], Tensor]:
    case = Contrib(step.op, step.shape, step.constants, step.attributes, at=step.at)
    module = import_onnx(case.model(), "y", None if rule is None else {f"com.microsoft::{step.op}": rule})
    run = module.graph_module(step.shape)
    return lambda x: run(x)[0]


def points(step: Step) -> Tensor:
    # Whole values, as quantised ones are; uneven ones for what quantises by itself.
    x = torch.randint(40, 200, step.shape, generator=torch.Generator().manual_seed(1)).float()
    return x / 7 if "Quantize" in step.op else x


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_gradient_goes_straight_through_the_rounding(step: Step) -> None:
    x = points(step)
    run = program(step)
    y, smooth = run(x), step.smooth(x)
    shift = 0 if step.op == "DynamicQuantizeMatMul" else 120
    assert (y - smooth - shift).abs().max() <= (0.501 if shift else 0.5), "the smooth function is the same one"
    expected = gradient(step.smooth, x)
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradient(run, x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_exact_rule_ends_the_gradient(step: Step) -> None:
    x = points(step)
    torch.testing.assert_close(program(step, "exact")(x), program(step)(x), rtol=0, atol=0)
    assert gradient(program(step, "exact"), x).abs().max() == 0


def test_gradient_stops_where_the_result_saturates() -> None:
    case = Contrib("QLinearAdd", (2,), (*GIVEN, np.array([120, 120], U8), *GIVEN, scalar(0.02), ZERO))
    run = import_onnx(case.model(), "y", {"com.microsoft::QLinearAdd": "clipped"}).graph_module((2,))
    slope = gradient(lambda x: run(x)[0].abs(), torch.tensor([130.0, 250.0]))
    assert slope[0] != 0
    assert slope[1] == 0


def test_gradient_of_packed_weights_ignores_the_rounding_of_activations() -> None:
    weight = whole(U8, 6, 2, 16)
    told = {"K": 64, "N": 6, "bits": 4, "block_size": 32}
    rough, plain = (
        import_onnx(Contrib("MatMulNBits", (3, 64), (weight, scales(6, 2)), more).model(), "y").graph_module((3, 64))
        for more in ({**told, "accuracy_level": 4}, told)
    )
    x = torch.tensor(f(3, 64))
    assert not torch.equal(rough(x)[0], plain(x)[0])
    torch.testing.assert_close(gradient(lambda v: rough(v)[0], x), gradient(lambda v: plain(v)[0], x))


def test_gradient_of_a_quantised_lstm_is_that_of_the_real_one() -> None:
    """Nearly: the states at which it is taken are rounded."""
    rng = np.random.default_rng(0)
    weight, recurrence = rng.integers(-60, 60, (1, 6, 16)).astype(I8), rng.integers(-60, 60, (1, 4, 16)).astype(I8)
    bias, step, none = f(1, 32), np.full(1, 0.01, np.float32), np.zeros(1, I8)
    constants = (weight, recurrence, bias, None, None, None, None, step, none, step, none)
    shape = (5, 2, 6)
    rough = import_onnx(Contrib("DynamicQuantizeLSTM", shape, constants, {"hidden_size": 4}).model(), "y")
    whole_numbers = [np.ascontiguousarray(w.transpose(0, 2, 1) * np.float32(0.01)) for w in (weight, recurrence)]
    plain = import_onnx(Contrib("LSTM", shape, (*whole_numbers, bias), {"hidden_size": 4}, domain="").model(), "y")
    x = torch.tensor(f(*shape))
    slopes = [gradient(lambda v, m=module: m.graph_module(shape)(v)[0], x).flatten() for module in (rough, plain)]
    assert torch.cosine_similarity(*slopes, dim=0) > 0.999
    assert float(slopes[0].norm() / slopes[1].norm()) == pytest.approx(1, abs=0.02)


# Fake devices cannot be indexed where torch was built without the real one.
INDEXING = ("GatherND", "GridSample", "CropAndResize", "RotaryEmbedding", "GroupQueryAttention", "DynamicSlice")


def differentiable() -> list[Contrib]:
    """One case of every operator that takes and gives floats."""
    first: dict[str, Contrib] = {}
    for case in (*FLOAT_CASES, *QUANTISED_CASES):
        if case.gradient and case.out_type == FLOAT and case.op not in INDEXING:
            first.setdefault(case.op, case)
    return list(first.values())


@pytest.mark.parametrize("case", differentiable(), ids=str)
def test_forward_and_backward_stay_on_the_device(case: Contrib) -> None:
    assert bool(strictly(import_onnx(case.model(), "y"), case.shape).any())
