"""Calls of ONNX Runtime's own attention operators."""

from __future__ import annotations

import numpy as np
from contrib_graphs import FLOAT, Contrib, f, i32, i64, scalar
from onnx import helper


def shown(mask: np.ndarray) -> np.ndarray:
    return (mask > 0).astype(np.int32)


QKV = (f(6, 36), f(36))
HEADS = {"num_heads": 3}
SELF = [
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

ATTENTION = [*SELF, *MULTI_HEAD, *ROTARY, *GROUPED]
