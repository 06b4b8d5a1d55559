"""Calls of ONNX Runtime's own normalisations."""

from __future__ import annotations

import numpy as np
from contrib_graphs import FLOAT, INT32, Contrib, f, i32
from onnx import helper

TOKENS = (2, 5, 8)


def positive(*shape: int) -> np.ndarray:
    return np.abs(f(*shape)) + 0.5


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
