"""Gradient cases of recurrent layers and attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from gradient_case import GradientCase
from standard_cases import Data, case, data

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_LENGTHS = np.array([2, 4], dtype=np.int32)
_DIRECTIONS = ("forward", "reverse", "bidirectional")
INPUT, HIDDEN, LENGTH, BATCH = 3, 2, 4, 2


def layer(
    op: str,
    direction: str = "forward",
    *,
    bias: bool = True,
    lengths: np.ndarray | None = None,
    state: bool = True,
    peepholes: bool = False,
    opset: int = 14,
    **more: Any,
) -> GradientCase:
    """A recurrent layer whose sequence, parameters and first state all depend on x."""
    count, gates = (2 if direction == "bidirectional" else 1), _GATES[op]
    batch_first = more.get("layout", 0)
    sizes = (BATCH, LENGTH, INPUT) if batch_first else (LENGTH, BATCH, INPUT)
    start = data(*((BATCH, count, HIDDEN) if batch_first else (count, BATCH, HIDDEN))) if state else None
    inputs: list[Data | np.ndarray | None] = [
        data(*sizes),
        data(count, gates * HIDDEN, INPUT),
        data(count, gates * HIDDEN, HIDDEN),
        data(count, 2 * gates * HIDDEN) if bias else None,
        lengths,
        start,
    ]
    if op == "LSTM":
        inputs += [start, data(count, 3 * HIDDEN) if peepholes else None]
    outputs = (0, 1, 2) if op == "LSTM" else (0, 1)
    return case(op, *inputs, opset=opset, outputs=outputs, hidden_size=HIDDEN, direction=direction, **more)


def attention(
    *inputs: Data | np.ndarray | None, opset: int = 23, outputs: tuple[int, ...] = (0,), **more: Any
) -> GradientCase:
    return case("Attention", *inputs, opset=opset, outputs=outputs, **more)


Q, K, V = data(2, 2, 3, 4), data(2, 2, 5, 4), data(2, 2, 5, 3)
_SEEN = np.array([[True, False, True, True, False], [False] * 5, [True, True, False, False, False]])
_WITHIN = np.array([[True, False, True, True, False], [True] * 5, [True, True, False, False, False]])
CASES: list[GradientCase] = [
    *[layer(op, direction) for op in _GATES for direction in _DIRECTIONS],
    *[layer(op, direction, lengths=_LENGTHS) for op in _GATES for direction in _DIRECTIONS],
    *[layer(op, bias=False, state=False, opset=7) for op in _GATES],
    *[layer(op, clip=0.4) for op in _GATES],
    layer("RNN", activations=["Relu"]),
    layer(
        "RNN", "bidirectional", activations=["LeakyRelu", "Affine"], activation_alpha=[0.3, 0.7], activation_beta=[0.1]
    ),
    layer("GRU", "bidirectional", linear_before_reset=1),
    layer("GRU", linear_before_reset=1, lengths=_LENGTHS),
    layer("GRU", activations=["HardSigmoid", "Softsign"]),
    layer("GRU", activations=["Sigmoid", "ScaledTanh"], activation_alpha=[1.2], activation_beta=[0.8]),
    layer("LSTM", "bidirectional", peepholes=True, clip=0.6),
    layer("LSTM", input_forget=1),
    layer("LSTM", activations=["Sigmoid", "Softsign", "Elu"]),
    layer("LSTM", opset=22),
    attention(Q, K, V),
    attention(Q, K, V, scale=0.3, softcap=0.7),
    attention(Q, K, V, data(3, 5)),
    attention(Q, K, V, data(2, 1, 3, 5), is_causal=1),
    attention(Q, K, V, _WITHIN),
    attention(data(2, 4, 3, 4), K, V, is_causal=1),
    attention(data(2, 3, 8), data(2, 5, 4), data(2, 5, 6), q_num_heads=4, kv_num_heads=2),
    attention(Q, data(2, 2, 2, 4), data(2, 2, 2, 3), None, data(2, 2, 3, 4), data(2, 2, 3, 3), outputs=(0, 1, 2)),
    *[attention(Q, K, V, data(3, 5), outputs=(0, 3), qk_matmul_output_mode=mode, softcap=0.5) for mode in range(4)],
    case("RotaryEmbedding", data(2, 2, 3, 4), data(2, 3, 2), data(2, 3, 2), opset=23),
    case(
        "RotaryEmbedding",
        *(data(2, 3, 8), data(5, 1), data(5, 1), np.array([[0, 2, 4], [1, 1, 3]])),
        opset=23,
        num_heads=2,
        rotary_embedding_dim=2,
        interleaved=1,
    ),
    attention(Q, K, V, _SEEN, opset=24),
    attention(Q, K, V, None, None, None, np.array([4, 2]), opset=24, is_causal=1),
    attention(Q, K, V, opset=25, left_window_size=1, right_window_size=0),
    *[
        case(
            "LinearAttention",
            data(2, 3, 8),
            data(2, 3, 4),
            data(2, 3, 6),
            data(2, 2, 2, 3) if rule != "linear" else None,
            data(2, 3, 2) if rule.startswith("gated") else None,
            data(2, 3, 2) if rule.endswith("delta") else None,
            opset=27,
            outputs=(0, 1),
            q_num_heads=4,
            kv_num_heads=2,
            update_rule=rule,
        )
        for rule in ("linear", "gated", "delta", "gated_delta")
    ],
    case("FlexAttention", data(1, 4, 3, 2), data(1, 2, 3, 2), data(1, 2, 3, 2), domain="ai.onnx.preview", scale=0.5),
]
