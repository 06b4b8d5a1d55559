"""Gradient cases of arithmetic and activations."""

from __future__ import annotations

import numpy as np
from gradient_case import GradientCase
from standard_cases import NEWEST, case, data, positive, scalar

_ANYWHERE = (
    *("Neg", "Abs", "Reciprocal", "Exp", "Erf", "Identity", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh"),
    *("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "LeakyRelu", "Elu", "Selu", "Celu"),
    *("ThresholdedRelu", "HardSigmoid", "Shrink", "Dropout"),
)
CASES: list[GradientCase] = [
    *[case(op, data(3, 4, low=-2.0, high=2.0)) for op in _ANYWHERE],
    *[case(op, positive(3, 4)) for op in ("Sqrt", "Log", "Reciprocal")],
    *[case(op, data(3, 4, low=-0.9, high=0.9)) for op in ("Asin", "Acos", "Atanh")],
    case("Acosh", data(3, 4, low=1.1, high=3.0)),
    *[case(op, data(2, 3, 4), data(3, 1), opset=opset) for op in ("Add", "Sub", "Mul") for opset in (7, 17)],
    *[case("Div", data(2, 3, 4), positive(3, 1), opset=opset) for opset in (7, 17)],
    case("Sub", np.float32([[2.0], [3.0]]), data(2, 3)),
    case("Div", scalar(1.5), positive(2, 3)),
    case("Pow", positive(2, 3), data(3), opset=7),
    case("Pow", positive(2, 3), data(3)),
    case("Pow", data(2, 3), scalar(2.0)),
    case("Pow", data(2, 3), scalar(3, np.int64)),
    case("Pow", scalar(1.7), data(2, 3)),
    case("Mod", data(2, 3), positive(2, 3), fmod=1),
    *[case(op, data(2, 3), data(3), data(2, 1)) for op in ("Sum", "Mean", "Max", "Min")],
    *[case(op, data(2, 3), data(2, 3), opset=7) for op in ("Sum", "Mean", "Max", "Min")],
    case("Where", np.array([[True, False, True], [False, False, True]]), data(2, 3), data(3)),
    case("Clip", data(3, 5), opset=6, min=-0.5, max=0.5),
    case("Clip", data(3, 5), opset=10, max=0.5),
    case("Clip", data(3, 5), opset=10),
    case("Clip", data(3, 5), scalar(-0.5), scalar(0.5), opset=11),
    case("Clip", data(3, 5), None, scalar(0.5), opset=13),
    case("Clip", data(3, 5), data(), data(low=0.2, high=0.3)),
    case("Dropout", data(3, 5), opset=7, ratio=0.3),
    case("Dropout", data(3, 5), opset=10),
    case("Dropout", data(3, 5), scalar(0.3), opset=13),
    case("LeakyRelu", data(3, 5), alpha=0.3),
    case("Elu", data(3, 5), alpha=0.7),
    case("Celu", data(3, 5), alpha=0.7),
    case("Selu", data(3, 5), alpha=1.2, gamma=0.9),
    case("HardSigmoid", data(3, 5, low=-3.0, high=3.0), alpha=0.3, beta=0.4),
    case("Shrink", data(3, 5), lambd=0.3, bias=0.1),
    case("ThresholdedRelu", data(3, 5), alpha=0.3),
    case("PRelu", data(2, 3, 4), data(3, 1)),
    case("PRelu", data(2, 3, 4), data(1, 3, 1), opset=9),
    case("PRelu", data(2, 3, 4), data(4)),
    case("PRelu", data(2, 3), data(3)),
    case("PRelu", data(2, 3), data(1)),
    case("PRelu", data(2, 3, 4), data(2, 3, 4), opset=7),
    case("Mish", data(3, 5), opset=18),
    case("Gelu", data(3, 5), opset=20),
    case("Gelu", data(3, 5), opset=20, approximate="tanh"),
    case("Swish", data(3, 5), opset=24, alpha=1.3),
    case("SwiGLU", data(3, 5), data(3, 5), opset=28, alpha=1.3),
    *[case(op, data(2, 3, 2), opset=v) for op in ("Softmax", "LogSoftmax") for v in (7, 11, 13, NEWEST)],
    *[case(op, data(2, 3, 2), opset=v, axis=v % 2) for op in ("Softmax", "LogSoftmax") for v in (10, 11, 13)],
]
_STEPS = "piecewise constant: the derivative is zero wherever it exists"
NO_GRADIENT: dict[tuple[str, str], str] = {
    ("", op): _STEPS
    for op in (
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"),
        *("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"),
    )
}
