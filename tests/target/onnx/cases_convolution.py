"""Gradient cases of matrix products, convolutions and pooling."""

from __future__ import annotations

import numpy as np
from gradient_case import GradientCase
from standard_cases import NEWEST, case, data, ints

IMAGE = data(2, 3, 5, 6)
_POOLED = {"kernel_shape": [3, 2]}
CASES: list[GradientCase] = [
    case("MatMul", data(2, 3, 4), data(4, 2)),
    case("MatMul", data(2, 3), data(2, 3, 4), opset=9),
    case("MatMul", data(3), data(3)),
    case("MatMul", data(2, 1, 2, 3), data(2, 3, 2)),
    case("Gemm", data(3, 4), data(4, 2), data(2)),
    case("Gemm", data(3, 4), data(4, 2), data(3, 1), opset=7, alpha=0.5, beta=2.0),
    case("Gemm", data(4, 3), data(2, 4), data(1, 2), opset=9, transA=1, transB=1, beta=0.5),
    case("Gemm", data(4, 3), data(4, 2), opset=11, transA=1),
    case("Gemm", data(3, 4), data(4, 2), data(), opset=11),
    case("Einsum", data(2, 3, 4), data(3, 4), equation="bij,ij->bi"),
    case("Einsum", data(3, 3), equation="ii"),
    case("Einsum", data(2, 3), equation="ij->ji"),
    case("Det", data(2, 3, 3), opset=11),
    case("Conv", IMAGE, data(4, 3, 3, 2), data(4), pads=[1, 0, 1, 1], strides=[2, 1], opset=7),
    case("Conv", IMAGE, data(3, 1, 2, 2), group=3, dilations=[2, 1]),
    case("Conv", IMAGE, data(2, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2], opset=11),
    case("Conv", IMAGE, data(2, 3, 2, 3), auto_pad="SAME_LOWER", opset=NEWEST),
    case("Conv", data(2, 2, 5), data(3, 2, 3), pads=[0, 1]),
    case("Conv", data(1, 2, 3, 3, 3), data(2, 2, 2, 2, 2)),
    case("ConvTranspose", data(2, 3, 3, 3), data(3, 2, 3, 2), data(2), strides=[2, 1], pads=[1, 0, 0, 0]),
    case("ConvTranspose", data(2, 2, 3, 3), data(2, 1, 3, 3), strides=[2, 2], group=2, output_padding=[1, 1]),
    case("ConvTranspose", data(1, 2, 3, 3), data(2, 1, 3, 3), strides=[2, 2], output_shape=[6, 5], opset=11),
    case("ConvTranspose", data(1, 2, 3, 3), data(2, 1, 2, 2), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", data(1, 2, 4), data(2, 3, 3), dilations=[2]),
    case("DeformConv", data(2, 4, 4, 4), data(2, 2, 2, 2), data(2, 16, 3, 3), group=2, offset_group=2, opset=19),
    case(
        "DeformConv",
        *(data(1, 2, 4, 4), data(3, 2, 2, 2), data(1, 8, 2, 3), data(3), data(1, 4, 2, 3)),
        opset=22,
        strides=[2, 1],
        dilations=[1, 2],
        pads=[0, 1, 1, 0],
    ),
    case("CausalConvWithState", data(2, 3, 4), data(3, 1, 3), opset=27, outputs=(0, 1), activation="silu"),
    case("CausalConvWithState", data(2, 3, 1), data(3, 1, 3), data(3), data(2, 3, 2), opset=27, outputs=(0, 1)),
    case("Col2Im", data(2, 8, 6), ints(3, 4), ints(2, 2), opset=18),
    case(
        "Col2Im", data(1, 4, 9), ints(4, 3), ints(2, 2), opset=18, strides=[2, 1], dilations=[1, 2], pads=[1, 1, 1, 1]
    ),
    *[
        case(op, IMAGE, opset=opset, **_POOLED, **more)
        for op in ("MaxPool", "AveragePool")
        for opset, more in (
            (7, {}),
            (8, {"strides": [2, 2], "pads": [1, 1, 1, 0]}),
            (11, {"strides": [2, 2], "ceil_mode": 1}),
            (12, {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
            (NEWEST, {"pads": [1, 0, 0, 1], "dilations": [1, 2]}),
        )
    ],
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case(
        "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 0, 1, 0], count_include_pad=1, ceil_mode=1, strides=[2, 2]
    ),
    case("AveragePool", data(1, 2, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case("MaxPool", data(2, 2, 7), kernel_shape=[3], strides=[2]),
    case("MaxPool", data(1, 1, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case(
        "MaxUnpool",
        data(1, 2, 2, 2),
        np.array([[[[0, 3], [9, 14]], [[16, 18], [29, 31]]]]),
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    case(
        "MaxUnpool",
        data(1, 1, 2, 2),
        np.array([[[[5, 7], [13, 15]]]]),
        ints(1, 1, 5, 5),
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    *[case("LpPool", IMAGE, kernel_shape=[2, 2], strides=[2, 1], p=p, opset=11) for p in (1, 2, 3)],
    case("LpPool", IMAGE, kernel_shape=[2, 2], pads=[1, 0, 0, 1], opset=18, dilations=[2, 1]),
    case("LpPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=18),
    *[case(op, IMAGE) for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")],
    case("GlobalLpPool", IMAGE, p=3),
    case("MaxRoiPool", data(2, 2, 6, 6), np.float32([[0, 0, 0, 3, 3], [1, 1, 2, 5, 4]]), pooled_shape=[2, 2]),
    case("MaxRoiPool", data(2, 2, 6, 6), np.float32([[1, 0, 0, 9, 3]]), pooled_shape=[1, 3], spatial_scale=0.5),
]
