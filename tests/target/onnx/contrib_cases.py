"""Calls of ONNX Runtime's own operators, over their variants."""

from __future__ import annotations

import numpy as np
from contrib_graphs import CODES, FLOAT, INT32, Contrib, f, i32, i64
from onnx import helper

IMAGE = (2, 3, 7, 8)
SAME = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
TOKENS = (2, 5, 8)


def positive(*shape: int) -> np.ndarray:
    return np.abs(f(*shape)) + 0.5


def scalar(value: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(value, dtype=dtype)


def shown(mask: np.ndarray) -> np.ndarray:
    return (mask > 0).astype(np.int32)


CONVOLUTIONS = [
    *[
        Contrib("FusedConv", IMAGE, (f(4, 3, 3, 3), f(4)), {**SAME, "activation": name, **parameters})
        for name, parameters in (
            ("Relu", {}),
            ("Sigmoid", {}),
            ("Tanh", {}),
            ("HardSwish", {}),
            ("LeakyRelu", {"activation_params": [0.2]}),
            ("Clip", {"activation_params": [-0.3, 0.4]}),
            ("HardSigmoid", {"activation_params": [0.2, 0.5]}),
        )
    ],
    Contrib("FusedConv", IMAGE, (f(4, 3, 3, 3), f(4)), SAME),
    Contrib(
        "FusedConv", IMAGE, (f(4, 3, 3, 3),), {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}
    ),
    Contrib("FusedConv", IMAGE, (f(4, 3, 3, 3), f(4), f(2, 4, 7, 8)), {**SAME, "activation": "Relu"}),
    Contrib("FusedConv", IMAGE, (f(4, 3, 3, 3), None, f(2, 4, 7, 8)), {**SAME, "activation": "Tanh"}),
    Contrib(
        "ConvTransposeWithDynamicPads",
        IMAGE,
        (f(3, 4, 3, 3), i64(1, 1, 1, 1), f(4)),
        {"strides": [2, 2], "output_padding": [1, 1]},
    ),
    Contrib("ConvTransposeWithDynamicPads", IMAGE, (f(3, 4, 3, 3), i64(1, 0, 0, 1))),
    *[
        Contrib(
            "NhwcMaxPool",
            (2, 7, 8, 3),
            (),
            {**SAME, "strides": [2, 2]},
            x=np.random.default_rng(0).integers(low, high, (2, 7, 8, 3)).astype(dtype),
            out_type=CODES[np.dtype(dtype).name],
            gradient=False,
        )
        for dtype, low, high in ((np.uint8, 0, 255), (np.int8, -128, 127))
    ],
]


def nhwc(op: str, activation: str, added: bool) -> Contrib:
    """ONNX Runtime runs these only on some accelerators."""
    attributes = {"kernel_shape": [3, 3], "pads": [1, 0, 1, 0], "strides": [2, 1]}
    weight, bias, more = f(4, 3, 3, 3), f(4), f(2, 4, 4, 4)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w", "b"], ["c"], **attributes),
        helper.make_node("Transpose", ["c"], ["n"], perm=[0, 2, 3, 1]),
        helper.make_node("Add" if added else "Identity", ["n", "z"][: 1 + added], ["s"]),
        helper.make_node(activation or "Identity", ["s"], ["y"]),
    ]
    held = {"w": weight, "b": bias, "z": more}
    told = {**attributes, "activation": activation} if activation else attributes
    constants = (weight, bias, more) if added else (weight, bias)
    return Contrib(op, (2, 7, 6, 3), constants, told, reference=(nodes, held))


CONVOLUTIONS += [nhwc("NhwcConv", "", False), nhwc("NhwcFusedConv", "Relu", True), nhwc("NhwcFusedConv", "Tanh", False)]

PRODUCTS = [
    *[
        case
        for a in (0, 1)
        for b in (0, 1)
        for case in (
            Contrib(
                "FusedMatMul",
                (2, 3, 5, 4) if a else (2, 3, 4, 5),
                (f(2, 3, 6, 5) if b else f(2, 3, 5, 6),),
                {"transA": a, "transB": b, "alpha": 0.5},
            ),
            Contrib(
                "FusedMatMul",
                (5, 2, 3, 4) if a else (4, 2, 3, 5),
                (f(2, 3, 6, 5) if b else f(2, 3, 5, 6),),
                {"transA": a, "transB": b, "transBatchA": 1},
            ),
            Contrib(
                "FusedMatMul",
                (2, 3, 5, 4) if a else (2, 3, 4, 5),
                (f(6, 2, 3, 5) if b else f(5, 2, 3, 6),),
                {"transA": a, "transB": b, "transBatchB": 1},
            ),
            Contrib(
                "TransposeMatMul",
                (5, 4) if a else (4, 5),
                (f(6, 5) if b else f(5, 6),),
                {"transA": a, "transB": b, "alpha": 2.0},
            ),
        )
    ],
    Contrib("FusedMatMul", (5,), (f(5, 6),), {"transA": 1}),
    Contrib("FusedMatMul", (4, 5), (f(5),), {"transB": 1}),
    *[
        Contrib(
            "FusedGemm",
            (4, 5),
            (f(6, 5), f(6)),
            {"transB": 1, "alpha": 0.5, "beta": 2.0, "activation": name, **parameters},
        )
        for name, parameters in (
            ("Relu", {}),
            ("LeakyRelu", {"activation_alpha": 0.3}),
            ("Elu", {"activation_alpha": 0.7}),
            ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4}),
            ("Selu", {"activation_alpha": 1.5, "activation_gamma": 1.1}),
            ("Sigmoid", {}),
            ("Tanh", {}),
            ("Softplus", {}),
            ("Softsign", {}),
            ("ThresholdedRelu", {"activation_alpha": 0.5}),
            ("ParametricSoftplus", {"activation_alpha": 0.5, "activation_beta": 1.5}),
            ("ScaledTanh", {"activation_alpha": 0.5, "activation_beta": 1.5}),
        )
    ],
    Contrib("FusedGemm", (4, 5), (f(5, 6),), {"activation": "Relu"}),
    Contrib(
        "FusedMatMulActivation",
        (2, 4, 5),
        (f(2, 6, 5),),
        {"transB": 1, "alpha": 0.5, "activation": "Softmax", "activation_axis": -1},
        reference=(
            [
                helper.make_node("Transpose", ["w"], ["t"], perm=[0, 2, 1]),
                helper.make_node("MatMul", ["x", "t"], ["p"]),
                helper.make_node("Mul", ["p", "half"], ["s"]),
                helper.make_node("Softmax", ["s"], ["y"], axis=-1),
            ],
            {"w": f(2, 6, 5), "half": scalar(0.5)},
        ),
    ),
    Contrib(
        "GemmFastGelu",
        (4, 5),
        (f(5, 6), f(6)),
        reference=(
            [
                helper.make_node("MatMul", ["x", "w"], ["p"]),
                helper.make_node("FastGelu", ["p", "b"], ["y"], domain="com.microsoft"),
            ],
            {"w": f(5, 6), "b": f(6)},
        ),
    ),
]

ACTIVATIONS = [
    Contrib("Gelu", TOKENS),
    Contrib("BiasGelu", TOKENS, (f(8),)),
    Contrib("FastGelu", TOKENS),
    Contrib("FastGelu", TOKENS, (f(8),)),
    Contrib("QuickGelu", TOKENS),
    Contrib("QuickGelu", TOKENS, (), {"alpha": 1.0}),
    Contrib("ScaledSiLU", TOKENS, (), {"alpha": 0.5}),
    Contrib("ScaledSiLU", TOKENS, (scalar(0.7),)),
    Contrib("GatedAdd", TOKENS, (f(2, 5, 8), f(2, 5, 1))),
    Contrib("GatedAdd", (2, 5, 1), (f(2, 5, 8), f(2, 5, 8)), at=2),
    Contrib(
        "BiasAdd",
        TOKENS,
        (f(8), f(2, 5, 8)),
        reference=(
            [helper.make_node("Add", ["x", "b"], ["t"]), helper.make_node("Add", ["t", "s"], ["y"])],
            {"b": f(8), "s": f(2, 5, 8)},
        ),
    ),
    Contrib(
        "BiasSplitGelu",
        TOKENS,
        (f(8),),
        reference=(
            [
                helper.make_node("Add", ["x", "b"], ["t"]),
                helper.make_node("Split", ["t", "n"], ["l", "r"], axis=-1),
                helper.make_node("Gelu", ["r"], ["g"], domain="com.microsoft"),
                helper.make_node("Mul", ["l", "g"], ["y"]),
            ],
            {"b": f(8), "n": i64(4, 4)},
        ),
    ),
    *[
        Contrib(
            "BiasSoftmax",
            (2, 3, 4, 5),
            (bias,),
            {"axis": axis, "is_inner_broadcast": inner},
            reference=(
                [
                    helper.make_node("Add", ["x", "b"], ["s"]),
                    helper.make_node("Reshape", ["s", "rows"], ["r"]),
                    helper.make_node("Softmax", ["r"], ["p"], axis=-1),
                    helper.make_node("Reshape", ["p", "all"], ["y"]),
                ],
                {"b": full, "rows": i64(*(2, 3, 4)[:axis], -1), "all": i64(2, 3, 4, 5)},
            ),
        )
        for bias, full, axis, inner in (
            (f(2, 1, 1, 5), f(2, 1, 1, 5), 3, 1),
            (f(2, 5), f(2, 5).reshape(2, 1, 1, 5), 3, 1),
            (f(4, 5), f(4, 5), 3, 0),
            (f(4, 5), f(4, 5), 2, 0),
        )
    ],
    *[
        Contrib(
            op,
            TOKENS,
            (f(8), f(2, 5, 8)),
            reference=(
                [helper.make_node("Add", ["x", "b"], ["t"]), helper.make_node("Add", ["t", "s"], ["y"])],
                {"b": f(8), "s": f(2, 5, 8)},
            ),
        )
        for op in ("BiasDropout", "BitmaskBiasDropout")
    ],
    Contrib("BitmaskDropout", TOKENS, reference=([helper.make_node("Identity", ["x"], ["y"])], {})),
]

IDS = np.random.default_rng(0).integers(0, 9, (2, 5)).astype(np.int32)
SEGMENTS = (IDS % 2).astype(np.int32)
WORDS_SHOWN = i32(1, 1, 1, 0, 0, 1, 1, 1, 1, 0).reshape(2, 5)
TABLES = (f(7, 8), f(2, 8), positive(8), f(8))


def group_norm(skip: tuple[int, ...] | None, last: int, activation: int) -> Contrib:
    """Against GroupNormalization; ONNX Runtime has GroupNorm on accelerators alone."""
    shape = (2, 4, 5, 6) if last else (2, 6, 4, 5)
    scale, shift, bias = positive(6), f(6), f(6)
    nodes, held = [], {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32)}
    held |= {"s": scale.reshape(6, 1, 1), "b": shift.reshape(6, 1, 1)}
    first = "x"
    if last:
        nodes.append(helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
        first = "t"
    if skip is not None:
        more = f(*skip)
        wide = more.reshape(2, 1, 1, 6) if len(skip) == 2 else more
        held["more"] = wide.transpose(0, 3, 1, 2) + bias.reshape(6, 1, 1)
        nodes.append(helper.make_node("Add", [first, "more"], ["sum"]))
        first = "sum"
    nodes += [
        helper.make_node("GroupNormalization", [first, "scale", "shift"], ["g"], num_groups=3, epsilon=1e-4),
        helper.make_node("Mul", ["g", "s"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
    ]
    if activation:
        nodes += [helper.make_node("Sigmoid", ["a"], ["i"]), helper.make_node("Mul", ["a", "i"], ["u"])]
    end = "u" if activation else "a"
    order = [0, 2, 3, 1] if last else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", [end], ["y"], perm=order))
    attributes = {"groups": 3, "epsilon": 1e-4, "activation": activation, "channels_last": last}
    constants = (scale, shift) if skip is None else (scale, shift, f(*skip), bias)
    op = "GroupNorm" if skip is None else "SkipGroupNorm"
    return Contrib(op, shape, constants, attributes, opset=18, reference=(nodes, held))


NORMALISATIONS = [
    *[
        Contrib("SkipLayerNormalization", TOKENS, constants, {"epsilon": 1e-5})
        for constants in (
            (f(2, 5, 8), positive(8), f(8)),
            (f(2, 5, 8), positive(8), f(8), f(8)),
            (f(2, 5, 8), positive(8)),
            (f(1, 5, 8), positive(8), f(8)),
            (f(5, 8), positive(8), f(8), f(8)),
            (f(2, 5, 8), positive(8), None, f(8)),
        )
    ],
    Contrib("SkipLayerNormalization", TOKENS, (f(2, 5, 8), positive(8), f(8), f(8)), at=1),
    Contrib("SkipLayerNormalization", (5, 8), (f(5, 8), positive(8), f(8))),
    Contrib("SkipSimplifiedLayerNormalization", TOKENS, (f(2, 5, 8), positive(8)), {"epsilon": 1e-3}),
    Contrib("SkipSimplifiedLayerNormalization", TOKENS, (f(2, 5, 8), positive(8), f(8))),
    Contrib("SkipSimplifiedLayerNormalization", (5, 8), (f(5, 8), positive(8), f(8))),
    Contrib("SimplifiedLayerNormalization", TOKENS, (positive(8),), domain=""),
    Contrib("SimplifiedLayerNormalization", TOKENS, (positive(5, 8),), {"axis": 1, "epsilon": 1e-2}, domain=""),
    Contrib("LayerNormalization", TOKENS, (positive(8), f(8)), domain="", opset=13),
    Contrib("LayerNormalization", TOKENS, (positive(5, 8), f(5, 8)), {"axis": 1}, domain="", opset=12),
    Contrib("BranchwiseRMSNorm", (2, 3, 4, 6), (positive(4, 6),)),
    Contrib("BranchwiseRMSNorm", (2, 3, 4, 6), (positive(24),)),
    Contrib("BranchwiseRMSNorm", (2, 3, 24), (positive(24),), {"num_branches": 4}),
    Contrib("BranchwiseRMSNorm", (2, 3, 24), (positive(6),), {"num_branches": 4}),
    Contrib("BranchwiseRMSNorm", (2, 3, 24), (), {"num_branches": 4}),
    Contrib("GatedRMSNorm", (2, 3, 24), (positive(6), f(2, 3, 24))),
    Contrib("GatedRMSNorm", (2, 3, 24), (positive(6), f(2, 3, 24)), {"activation": "sigmoid"}),
    group_norm(None, 1, 0),
    group_norm(None, 0, 1),
    group_norm((2, 4, 5, 6), 1, 1),
    group_norm((2, 6), 1, 0),
    group_norm((2, 1, 1, 6), 0, 1),
    Contrib("EmbedLayerNormalization", (9, 8), (IDS, SEGMENTS, *TABLES), at=2, more=(INT32,)),
    Contrib("EmbedLayerNormalization", (9, 8), (IDS, SEGMENTS, *TABLES, WORDS_SHOWN), at=2, more=(INT32, FLOAT)),
    Contrib(
        "EmbedLayerNormalization",
        (9, 8),
        (IDS, None, TABLES[0], None, *TABLES[2:], None, i32(1, 3, 2, 0, 5).reshape(1, 5)),
        at=2,
        more=(INT32,),
    ),
]

LEGACY = [
    Contrib("Affine", (2, 5), (), {"alpha": 2.0, "beta": 0.5}, domain="", opset=9),
    Contrib("Scale", (2, 5), (), {"scale": 0.3}, domain="", opset=9),
    Contrib("ParametricSoftplus", (2, 5), (), {"alpha": 0.3, "beta": 2.0}, domain="", opset=9),
    Contrib("ScaledTanh", (2, 5), (), {"alpha": 0.3, "beta": 2.0}, domain="", opset=9),
    Contrib("ImageScaler", IMAGE, (), {"bias": [0.1, 0.2, 0.3], "scale": 0.5}, domain="", opset=9),
    Contrib("Crop", IMAGE, (), {"border": [1, 2, 1, 1]}, domain="", opset=9),
    Contrib("Crop", IMAGE, (), {"border": [1, 2, 1, 1], "scale": [2, 3]}, domain="", opset=9),
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


TENSORS = [
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

QKV = (f(6, 36), f(36))
HEADS = {"num_heads": 3}
ATTENTION = [
    *[
        Contrib("Attention", (2, 4, 6), (*QKV, mask), {**HEADS, "unidirectional": causal})
        for mask in (
            None,
            i32(1, 1, 0, 1, 1, 0, 0, 0).reshape(2, 4),
            i32(3, 2),
            i32(4, 3, 1, 0),
            shown(f(2, 4, 4)),
            np.ones((2, 1), np.int32),
        )
        for causal in (0, 1)
    ],
    Contrib("Attention", (2, 4, 6), QKV, {**HEADS, "scale": 0.3}),
    Contrib("Attention", (2, 4, 6), (f(6, 33), f(33)), {**HEADS, "qkv_hidden_sizes": [12, 12, 9]}),
    Contrib("Attention", (2, 4, 6), (*QKV, None, None, f(2, 3, 4, 4)), HEADS),
    Contrib("Attention", (2, 4, 6), (*QKV, None, None, f(1, 1, 4, 4)), HEADS),
    Contrib("Attention", (2, 4, 6), (*QKV, i32(3, 2), None, f(1, 3, 4, 4)), {**HEADS, "unidirectional": 1}),
    Contrib("Attention", (2, 4, 6), (*QKV, None, f(2, 2, 3, 5, 4)), HEADS, more=(FLOAT,)),
    Contrib(
        "Attention",
        (2, 4, 6),
        (*QKV, shown(f(2, 9)), f(2, 2, 3, 5, 4)),
        {**HEADS, "unidirectional": 1, "mask_filter_value": -5.0},
        more=(FLOAT,),
    ),
    # Left out, the bias makes ONNX Runtime 1.31 read where it must not.
    Contrib(
        "Attention",
        (2, 4, 6),
        QKV[:1],
        HEADS,
        reference=(
            [helper.make_node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", **HEADS)],
            {"w": QKV[0], "b": np.zeros(36, np.float32)},
        ),
    ),
]

QUERY = (2, 4, 12)


def packed(both: bool) -> Contrib:
    """Packed queries, keys and values, which ONNX Runtime runs only on accelerators."""
    unpack = [
        helper.make_node("Gather", ["x" if both else "kv", f"i{i}"], [f"g{i}"], axis=3) for i in range(2 + int(both))
    ]
    flat = [helper.make_node("Reshape", [f"g{i}", "flat"], [f"f{i}"]) for i in range(2 + int(both))]
    names = ["f0", "f1", "f2"] if both else ["x", "f0", "f1"]
    attend = helper.make_node("MultiHeadAttention", names, ["y"], domain="com.microsoft", **HEADS)
    held = {"flat": i64(2, 4, 12), **{f"i{i}": scalar(i, np.int64) for i in range(3)}}
    if both:
        return Contrib("MultiHeadAttention", (2, 4, 3, 3, 4), (), HEADS, reference=([*unpack, *flat, attend], held))
    held["kv"] = f(2, 4, 3, 2, 4)
    return Contrib("MultiHeadAttention", QUERY, (held["kv"],), HEADS, reference=([*unpack, *flat, attend], held))


MULTI_HEAD = [
    Contrib("MultiHeadAttention", QUERY, (f(2, 5, 12), f(2, 5, 12)), HEADS),
    Contrib("MultiHeadAttention", QUERY, (f(2, 5, 12), f(2, 5, 9), f(33)), HEADS),
    Contrib("MultiHeadAttention", QUERY, (f(2, 5, 12), f(2, 5, 12), f(36), i32(3, 2)), HEADS),
    Contrib("MultiHeadAttention", QUERY, (f(2, 5, 12), f(2, 5, 12), None, shown(f(2, 5)), f(1, 3, 4, 5)), HEADS),
    Contrib("MultiHeadAttention", QUERY, (f(2, 5, 12), f(2, 5, 12), f(36), shown(f(2, 4, 5))), HEADS),
    Contrib(
        "MultiHeadAttention", QUERY, (f(2, 4, 12), f(2, 4, 12), f(36)), {**HEADS, "unidirectional": 1, "scale": 0.7}
    ),
    Contrib("MultiHeadAttention", (2, 5, 12), (f(2, 4, 12), f(2, 5, 12), f(36)), HEADS, at=1),
    Contrib("MultiHeadAttention", QUERY, (f(2, 3, 5, 4), f(2, 3, 5, 4)), HEADS),
    Contrib(
        "MultiHeadAttention",
        QUERY,
        (f(2, 4, 12), f(2, 4, 12), f(36), None, None, f(2, 3, 2, 4), f(2, 3, 2, 4)),
        HEADS,
        more=(FLOAT, FLOAT),
    ),
    packed(both=True),
    packed(both=False),
]

COSINES, SINES = np.cos(f(10, 2)), np.sin(f(10, 2))
PLACES = i64(0, 1, 2, 3, 3, 2, 1, 5).reshape(2, 4)
ROTARY = [
    Contrib("RotaryEmbedding", shape, (places, COSINES, SINES), {"interleaved": interleaved, **attributes})
    for places in (PLACES, i64(2))
    for interleaved in (0, 1)
    for shape, attributes in (
        (QUERY, {}),
        ((2, 3, 4, 4), {}),
        ((2, 4, 18), {"num_heads": 3, "rotary_embedding_dim": 4}),
        ((2, 3, 4, 6), {"num_heads": 3, "rotary_embedding_dim": 4}),
    )
]

KEYS = (f(2, 5, 16), f(2, 5, 16) * 2)
FRESH = (None, None, i32(4, 4), scalar(5, np.int32))
WIDE = (np.cos(f(10, 8)), np.sin(f(10, 8)))
GROUPS = {"num_heads": 4, "kv_num_heads": 2}
ONE_GROUP = {"num_heads": 2, "kv_num_heads": 1, "do_rotary": 1}
FIRST = np.tile(np.arange(2, 7), (2, 1))
GROUPED = [
    *[
        Contrib("GroupQueryAttention", (2, 5, 32), (*KEYS, *FRESH), {**GROUPS, **attributes}, more=(FLOAT, FLOAT))
        for attributes in (
            {},
            {"softcap": 2.0},
            {"local_window_size": 2},
            {"local_window_size": 3, "softcap": 1.0},
            {"smooth_softmax": 1},
            {"scale": 0.3},
            {"causal": 0},
        )
    ],
    Contrib("GroupQueryAttention", (2, 5, 64), (None, None, *FRESH), GROUPS, more=(FLOAT, FLOAT)),
    Contrib(
        "GroupQueryAttention", (2, 5, 32), (*KEYS, *FRESH, None, None, None, f(1, 4, 5, 5)), GROUPS, more=(FLOAT, FLOAT)
    ),
    Contrib("GroupQueryAttention", (2, 5, 32), (*KEYS, *FRESH, *[None] * 4, f(4)), GROUPS, more=(FLOAT, FLOAT)),
    Contrib(
        "GroupQueryAttention",
        (2, 5, 32),
        (*KEYS, None, None, i32(4, 2), FRESH[3]),
        {**GROUPS, "causal": 0},
        more=(FLOAT, FLOAT),
    ),
    Contrib(
        "GroupQueryAttention",
        (2, 5, 32),
        (*KEYS, f(2, 2, 0, 8), f(2, 2, 0, 8), i32(4, 4), FRESH[3]),
        GROUPS,
        more=(FLOAT, FLOAT),
    ),
    Contrib("GroupQueryAttention", (2, 5, 32), (*KEYS, *FRESH, *WIDE), ONE_GROUP, more=(FLOAT, FLOAT)),
    Contrib(
        "GroupQueryAttention",
        (2, 5, 32),
        (*KEYS, *FRESH, *WIDE),
        {**ONE_GROUP, "rotary_interleaved": 1},
        more=(FLOAT, FLOAT),
    ),
    Contrib("GroupQueryAttention", (2, 5, 32), (*KEYS, *FRESH, *WIDE, FIRST), ONE_GROUP, more=(FLOAT, FLOAT)),
    Contrib("GroupQueryAttention", (2, 5, 64), (None, None, *FRESH, *WIDE), ONE_GROUP, more=(FLOAT, FLOAT)),
]

FLOAT_CASES = [
    *CONVOLUTIONS,
    *PRODUCTS,
    *ACTIVATIONS,
    *NORMALISATIONS,
    *LEGACY,
    *TENSORS,
    *ATTENTION,
    *MULTI_HEAD,
    *ROTARY,
    *GROUPED,
]
