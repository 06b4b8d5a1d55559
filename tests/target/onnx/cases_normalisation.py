"""Gradient cases of normalisations, reductions and losses."""

from __future__ import annotations

import numpy as np
from gradient_case import GradientCase
from standard_cases import NEWEST, case, data, ints, positive, scalar

IMAGE = data(2, 4, 3, 3)
_LABELS = np.array([[0, 2, -1], [1, 1, 0]], dtype=np.int64)
_REDUCTIONS = (
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)
CASES: list[GradientCase] = [
    *[case("BatchNormalization", IMAGE, data(4), data(4), data(4), positive(4), opset=v) for v in (7, 9, 15)],
    case("BatchNormalization", IMAGE, data(4), data(4), data(4), positive(4), training_mode=1, outputs=(0, 1, 2)),
    case("BatchNormalization", data(2, 3, 4), *[data(3, 4)] * 3, positive(3, 4), opset=7, spatial=0),
    case("BatchNormalization", IMAGE, data(4), data(4), np.float32([0.1, 0, 1, 2]), np.float32([1, 2, 3, 4])),
    case("BatchNormalization", data(3, 4), data(4), data(4), data(4), positive(4), epsilon=0.1),
    case("LayerNormalization", data(2, 3, 4), data(4), data(4), outputs=(0, 1, 2)),
    case("LayerNormalization", data(2, 3, 4), data(3, 4), data(3, 4), axis=1, epsilon=0.1),
    case("LayerNormalization", data(2, 3, 4), data(4)),
    case("InstanceNormalization", IMAGE, data(4), data(4), opset=7),
    case("InstanceNormalization", data(2, 3, 5), data(3), data(3), epsilon=0.1),
    case("GroupNormalization", IMAGE, data(2), data(2), num_groups=2, opset=18),
    case("GroupNormalization", IMAGE, data(4), data(4), num_groups=2, opset=21, epsilon=0.1),
    case("RMSNormalization", data(2, 3, 4), data(4), opset=23),
    case("RMSNormalization", data(2, 3, 4), data(3, 4), opset=23, axis=1),
    case("LRN", data(2, 6, 2, 2), size=3, alpha=0.3),
    case("LRN", data(2, 5, 3, 1), size=5, alpha=0.3, beta=0.5, bias=2.0),
    *[case("LpNormalization", data(3, 4), p=p, axis=axis) for p in (1, 2) for axis in (0, -1)],
    case("MeanVarianceNormalization", data(2, 3, 2, 2)),
    case("MeanVarianceNormalization", data(2, 3, 4), axes=[1, 2]),
    *[case(op, positive(2, 3, 4), opset=v, axes=[1, -1], keepdims=v % 2) for op in _REDUCTIONS for v in (11, 12)],
    *[case(op, positive(2, 3, 4), ints(0, 2), opset=18, keepdims=0) for op in _REDUCTIONS],
    *[case(op, positive(2, 3, 4), opset=NEWEST) for op in _REDUCTIONS],
    *[case(op, positive(2, 3), ints(), opset=18, noop_with_empty_axes=1) for op in _REDUCTIONS],
    *[case(op, data(2, 3, 4), opset=7, axes=[2]) for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL1")],
    case("ReduceSum", data(2, 3), ints(1), opset=13),
    case("ReduceProd", data(2, 3), opset=13, axes=[0]),
    case("CumSum", data(3, 4), scalar(1, np.int64)),
    case("CumSum", data(3, 4), scalar(-2, np.int32), exclusive=1, reverse=1),
    case("CumProd", data(3, 4), scalar(1, np.int64), opset=26),
    case("CumProd", data(3, 4), scalar(-2, np.int64), opset=26, exclusive=1, reverse=1),
    case("TopK", data(3, 6), opset=7, k=2, unread=1),
    case("TopK", data(3, 6), ints(2), opset=10, axis=0, unread=1),
    case("TopK", data(3, 6), ints(3), opset=11, largest=0, unread=1),
    *[
        case(
            "NegativeLogLikelihoodLoss", data(2, 3, 3), _LABELS, weight, opset=13, ignore_index=-1, reduction=reduction
        )
        for weight in (None, positive(3))
        for reduction in ("none", "sum", "mean")
    ],
    case("NegativeLogLikelihoodLoss", data(2, 3), ints(2, 0), opset=22),
    *[
        case("SoftmaxCrossEntropyLoss", data(2, 3, 3), _LABELS, weight, ignore_index=-1, reduction=reduction)
        for weight in (None, positive(3))
        for reduction in ("none", "sum", "mean")
    ],
    case("SoftmaxCrossEntropyLoss", data(2, 3), ints(2, 0), opset=12, outputs=(0, 1)),
]
NO_GRADIENT: dict[tuple[str, str], str] = {
    ("", "ArgMax"): "a position: the derivative is zero wherever it exists",
    ("", "ArgMin"): "a position: the derivative is zero wherever it exists",
}
