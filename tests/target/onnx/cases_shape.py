"""Gradient cases of rearranging, reading and writing."""

from __future__ import annotations

import numpy as np
from gradient_case import GradientCase
from standard_cases import NEWEST, case, data, ints, scalar

CASES: list[GradientCase] = [
    case("Reshape", data(2, 3, 4), ints(0, -1)),
    case("Reshape", data(2, 3), ints(3, 1, 2), opset=14, allowzero=1),
    case("Flatten", data(2, 3, 4), axis=2),
    case("Flatten", data(2, 3, 4), opset=7, axis=0),
    case("Transpose", data(2, 3, 4), perm=[2, 0, 1]),
    case("Transpose", data(2, 3, 4)),
    case("Squeeze", data(2, 1, 3, 1), ints(1, -1), opset=13),
    case("Squeeze", data(2, 1, 3, 1), opset=11, axes=[1, 3]),
    case("Squeeze", data(2, 1, 3, 1), opset=7),
    case("Unsqueeze", data(2, 3), ints(0, -1)),
    case("Unsqueeze", data(2, 3), opset=11, axes=[1, -1]),
    case("Unsqueeze", data(2, 3), opset=7, axes=[0, 3]),
    case("Concat", data(2, 3), data(2, 2), axis=-1),
    case("Concat", data(2, 3), data(1, 3), opset=7, axis=0),
    case("Split", data(2, 7), opset=18, axis=1, num_outputs=3, outputs=(0, 1, 2)),
    case("Split", data(2, 6), opset=7, axis=1, outputs=(0, 1)),
    case("Split", data(2, 7), opset=11, axis=1, split=[3, 4], outputs=(0, 1)),
    case("Split", data(2, 7), ints(5, 2), axis=-1, outputs=(0, 1)),
    case("Slice", data(4, 6), ints(1, 0), ints(3, 2**62), ints(0, 1), ints(1, 2)),
    case("Slice", data(4, 6), ints(-1), ints(-(2**62)), ints(1), ints(-2), opset=10),
    case("Slice", data(4, 6), ints(1), ints(3), opset=11),
    case("Slice", data(4, 6), opset=9, starts=[1, -4], ends=[4, -1]),
    case("Slice", data(4, 6), opset=7, starts=[1], ends=[100], axes=[1]),
    case("Expand", data(3, 1), ints(2, 1, 4)),
    case("Expand", data(3, 2), ints(1, 2), opset=8),
    case("Tile", data(2, 3), ints(2, 3)),
    case("DepthToSpace", data(1, 8, 2, 3), blocksize=2, opset=7),
    case("DepthToSpace", data(1, 8, 2, 3), blocksize=2, mode="CRD"),
    case("SpaceToDepth", data(2, 2, 4, 6), blocksize=2),
    case("Trilu", data(2, 3, 4)),
    case("Trilu", data(4, 4), scalar(-1, np.int64), upper=0),
    case("Gather", data(2, 5), ints(0, -1, 2, 2), axis=1),
    case("Gather", data(2, 5), scalar(1, np.int64), opset=7),
    case("Gather", data(3, 2), np.array([[0, 1], [2, 2]], dtype=np.int32), opset=NEWEST),
    case("GatherElements", data(2, 5), np.array([[0, -1], [2, 2]]), axis=1),
    case("GatherND", data(2, 5), np.array([[0, 1], [1, -1]])),
    case("GatherND", data(2, 5, 2), np.array([[0], [4]]), batch_dims=1),
    case("GatherND", data(2, 3, 4, 2), np.array([[[0, -1], [2, 1]], [[1, 1], [0, 3]]]), opset=12, batch_dims=1),
    case("GatherND", data(2, 3, 4), np.array([[[0], [1], [-1]], [[3], [1], [0]]]), batch_dims=2),
    *[
        case("ScatterND", data(4, 3), np.array([[1], [3]]), data(2, 3), opset=18, reduction=reduction)
        for reduction in ("none", "add", "mul", "max", "min")
    ],
    case("ScatterND", data(4, 3), np.array([[1, 2], [3, 0]]), data(2), opset=11),
    *[
        case("ScatterND", data(4, 3), np.array([[1, 2], [1, 2]]), data(2), opset=18, reduction=reduction)
        for reduction in ("add", "mul", "max", "min")
    ],
    *[
        case("ScatterElements", data(4, 3), np.array([[1, -1, 2]]), data(1, 3), opset=18, reduction=reduction)
        for reduction in ("none", "add", "mul", "max", "min")
    ],
    case("ScatterElements", data(2, 5), np.array([[1, 3]]), data(1, 2), opset=11, axis=1),
    case("Scatter", data(2, 5), np.array([[1, 3]]), data(1, 2), opset=9, axis=1),
    case("OneHot", ints(0, 2, -1), scalar(3, np.int64), data(2)),
    case("OneHot", ints(0, 2, 1), scalar(3, np.int64), data(2), opset=9, axis=0),
    case("Compress", data(3, 4), np.array([False, True, True]), axis=0),
    case("Compress", data(3, 4), np.array([False, True, False, True, True])),
    case("ReverseSequence", data(4, 3, 2), ints(1, 4, 3)),
    case("ReverseSequence", data(3, 4), ints(2, 4, 1), batch_axis=0, time_axis=1),
    case("TensorScatter", data(2, 5, 3), data(2, 2, 3), ints(1, 3), opset=24),
    case("TensorScatter", data(2, 2, 5), data(2, 2, 2), ints(4, 3), opset=24, axis=-1, mode="circular"),
    case("TensorScatter", data(2, 5, 3), data(2, 2, 3), opset=24),
    case("Pad", data(2, 3, 5), ints(0, 0, 1, 0, 1, 2), data()),
    case("Pad", data(2, 3, 5), ints(0, 0, 1, 0, 0, -2), opset=11),
    case("Pad", data(2, 3, 5), ints(1, 2), scalar(0.3), ints(-1), opset=18),
    case("Pad", data(2, 3, 5), opset=7, pads=[0, 0, 1, 0, 0, 1], value=0.25),
    *[case("Pad", data(2, 3, 5), ints(0, 1, 2, 0, 1, 1), mode=mode) for mode in ("reflect", "edge")],
    case("Pad", data(2, 3, 5), opset=10, pads=[0, 1, 2, 0, 1, 1], mode="reflect"),
    case("Pad", data(2, 3, 5), ints(0, 1, 2, 0, 1, 1), opset=19, mode="wrap"),
    case("CenterCropPad", data(3, 5, 4), ints(5, 2), opset=18, axes=[0, 1]),
    case("CenterCropPad", data(4, 5), ints(3, 8), opset=18),
]
NO_GRADIENT: dict[tuple[str, str], str] = {
    **{("", op): "tells of a shape" for op in ("Shape", "Size", "EyeLike")},
    **{("", op): "its inputs shape the graph" for op in ("ConstantOfShape", "Range")},
    **{
        ("", op): "how many it chooses depends on the values, which must be known"
        for op in ("NonZero", "Unique", "NonMaxSuppression")
    },
    ("", "TfIdfVectorizer"): "counts tokens, which are integers",
}
