"""Calls of ONNX Runtime's own operators, over their variants."""

from __future__ import annotations

import numpy as np
from contrib_attention_cases import ATTENTION
from contrib_graphs import CODES, Contrib, f, i64, scalar
from contrib_normalisation_cases import NORMALISATIONS
from contrib_tensor_cases import TENSORS
from onnx import helper

IMAGE = (2, 3, 7, 8)
SAME = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
TOKENS = (2, 5, 8)


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

FLOAT_CASES = [
    *CONVOLUTIONS,
    *PRODUCTS,
    *ACTIVATIONS,
    *NORMALISATIONS,
    *TENSORS,
    *ATTENTION,
]
