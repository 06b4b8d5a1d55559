"""Calls of ONNX Runtime's own operators on shapes, places and spectra, and of those that ONNX dropped."""

from __future__ import annotations

import numpy as np
from contrib_graphs import Contrib, f, i32, i64, scalar
from onnx import helper

LEGACY = [
    Contrib("Affine", (2, 5), (), {"alpha": 2.0, "beta": 0.5}, domain="", opset=9),
    Contrib("Scale", (2, 5), (), {"scale": 0.3}, domain="", opset=9),
    Contrib("ParametricSoftplus", (2, 5), (), {"alpha": 0.3, "beta": 2.0}, domain="", opset=9),
    Contrib("ScaledTanh", (2, 5), (), {"alpha": 0.3, "beta": 2.0}, domain="", opset=9),
    Contrib("ImageScaler", (2, 3, 7, 8), (), {"bias": [0.1, 0.2, 0.3], "scale": 0.5}, domain="", opset=9),
    Contrib("Crop", (2, 3, 7, 8), (), {"border": [1, 2, 1, 1]}, domain="", opset=9),
    Contrib("Crop", (2, 3, 7, 8), (), {"border": [1, 2, 1, 1], "scale": [2, 3]}, domain="", opset=9),
    Contrib("DynamicSlice", (4, 5), (i64(1), i64(3), i64(1)), domain="", opset=9),
]

BOXES = np.array([[0.1, 0.2, 0.8, 0.9], [-0.2, 0, 1.2, 1], [0.3, 0.3, 0.3, 0.7], [0.9, 0.8, 0.1, 0.2]], np.float32)


def spectrum(op: str, shape: tuple[int, ...]) -> Contrib:
    """Against products with the Fourier matrix."""
    n = 6
    turns = 2 * np.pi * np.outer(np.arange(n), np.arange(n // 2 + 1)) / n
    parts = np.stack([np.cos(turns), -np.sin(turns)], -1).reshape(n, -1)
    nodes = [helper.make_node("MatMul", ["x", "m"], ["p"]), helper.make_node("Reshape", ["p", "s"], ["y"])]
    if op == "Rfft":
        held = {"m": parts.astype(np.float32), "s": i64(*shape[:-1], n // 2 + 1, 2)}
        return Contrib(op, shape, (), {"signal_ndim": 1}, reference=(nodes, held))
    # Each inner frequency stands for its conjugate too.
    weight = np.repeat([1.0, 2.0, 2.0, 1.0], 2) / n
    held = {"m": (parts * weight).T.astype(np.float32), "f": i64(*shape[:-2], 8)}
    nodes = [helper.make_node("Reshape", ["x", "f"], ["r"]), helper.make_node("MatMul", ["r", "m"], ["y"])]
    return Contrib(op, shape, (), {"signal_ndim": 1}, reference=(nodes, held))


def complex_product(op: str, sign: float) -> Contrib:
    other = f(4, 2)
    x, y = other[:, 0], other[:, 1] * sign
    # (a + bi)(x + yi) as a two-by-two matrix for every pair.
    matrix = np.stack([np.stack([x, y], -1), np.stack([-y, x], -1)], -2)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "two"], ["u"]),
        helper.make_node("MatMul", ["u", "m"], ["p"]),
        helper.make_node("Squeeze", ["p", "two"], ["y"]),
    ]
    return Contrib(op, (3, 4, 2), (other,), reference=(nodes, {"m": matrix, "two": i64(-2)}))


OWN = [
    Contrib("GatherND", (3, 4, 2), (i64(0, 1, 2, 3).reshape(2, 2),)),
    *[
        Contrib("GridSample", (2, 3, 5, 6), (np.tanh(f(2, 3, 4, 2)) * 1.3,), {"mode": mode, "padding_mode": pad})
        for mode in ("bilinear", "nearest", "bicubic")
        for pad in ("zeros", "border", "reflection")
    ],
    Contrib("GridSample", (2, 3, 5, 6), (np.tanh(f(2, 3, 4, 2)),), {"align_corners": 1}),
    *[
        Contrib("Trilu", (2, 4, 5), constants, {"upper": upper})
        for constants in ((), (scalar(1, np.int64),), (scalar(-1, np.int64),))
        for upper in (0, 1)
    ],
    *[Contrib("Pad", (2, 4, 5), (i64(0, 1, 2, 0, 0, 1),), {"mode": mode}) for mode in ("constant", "reflect", "edge")],
    Contrib("Pad", (2, 4, 5), (i64(0, 1, 2, 0, 0, 1).reshape(1, 6), scalar(3))),
    Contrib("ExpandDims", (2, 4), (scalar(1, np.int32),)),
    Contrib("ExpandDims", (2, 4), (scalar(-1, np.int32),)),
    Contrib("UnfoldTensor", (2, 9, 3), (), {"dim": 1, "size": 4, "step": 2}),
    Contrib("UnfoldTensor", (2, 9), (), {"size": 4}),
    Contrib("CDist", (4, 6), (f(3, 6),), {"metric": "euclidean"}),
    Contrib("CDist", (4, 6), (f(3, 6),)),
    Contrib("Inverse", (2, 3, 3)),
    Contrib("Inverse", (3, 3)),
    *[
        Contrib(
            "CropAndResize", (2, 3, 6, 7), (BOXES, i32(0, 1, 1, 0), size), {"mode": mode, "extrapolation_value": 0.5}
        )
        for mode in ("bilinear", "nearest")
        for size in (i32(3, 4), i32(1, 1))
    ],
    Contrib(
        "TorchEmbedding",
        (9, 4),
        (i64(3, 1, 4, 1).reshape(2, 2),),
        reference=([helper.make_node("Gather", ["x", "i"], ["y"])], {"i": i64(3, 1, 4, 1).reshape(2, 2)}),
    ),
    spectrum("Rfft", (2, 3, 6)),
    spectrum("Irfft", (2, 3, 4, 2)),
    complex_product("ComplexMul", 1.0),
    complex_product("ComplexMulConj", -1.0),
]

TENSORS = [*LEGACY, *OWN]
