"""The LSTM whose products are quantised as they are made (what dynamic quantisation makes of an LSTM)."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.contrib.common import MICROSOFT, apply
from robaudit.target.onnx.contrib.quantised import centred
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator
from robaudit.target.onnx.straight_through import ATTRIBUTE, QUANTISER, rule_of

_USUAL = ("sigmoid", "tanh", "tanh")
Weights = tuple[Tensor, Tensor, Tensor]
"""Whole numbers [inputs, 4 H], their scale ([] or [4 H]), bias [4 H]."""


@operator("DynamicQuantizeLSTM", domain=MICROSOFT, backward=QUANTISER)
def _lstm(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None,
    lengths: Tensor | None,
    hidden: Tensor | None,
    cell: Tensor | None,
    peepholes: Tensor | None,
    w_scale: Tensor,
    w_zero: Tensor,
    r_scale: Tensor,
    r_zero: Tensor,
) -> Result:
    """x [time, batch, inputs]; the result [time, directions, batch, H], then the last states."""
    names = tuple(str(name).lower() for name in node.attributes.get("activations") or _USUAL)
    direction = node.text("direction", "forward")
    size = recurrence.shape[1]
    if lengths is not None or peepholes is not None or node.integer("input_forget", 0) or "clip" in node.attributes:
        raise node.unsupported("lengths, peepholes, coupled gates or clipping")
    if any(names[i] != _USUAL[i % 3] for i in range(len(names))):
        raise node.unsupported(f"activations {', '.join(names)}")
    results: list[tuple[Tensor, Tensor, Tensor]] = []
    for way in range(weight.shape[0]):
        offset = torch.zeros(8 * size, dtype=x.dtype) if bias is None else bias[way]
        inner = _weights(weight[way], w_scale[way], w_zero[way], offset[: 4 * size])
        outer = _weights(recurrence[way], r_scale[way], r_zero[way], offset[4 * size :])
        start = torch.zeros([x.shape[1], size], dtype=x.dtype)
        states = (start if hidden is None else hidden[way], start if cell is None else cell[way])
        results.append(_layer(node, x, inner, outer, states, backwards=direction == "reverse" or way == 1))
    y, h, c = (torch.stack(list(parts)) for parts in zip(*results, strict=True))
    return y.transpose(0, 1), h, c


def _weights(values: Tensor, scale: Tensor, zero: Tensor, bias: Tensor) -> Weights:
    return centred(values, zero), scale, bias


def _layer(
    node: Node, x: Tensor, inner: Weights, outer: Weights, states: tuple[Tensor, Tensor], *, backwards: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """All hidden states [time, batch, H], the last hidden state and cell.

    x is quantised at once, the hidden state at every step, each by one scale for the whole batch.
    """
    (hidden, cell), steps = states, x.shape[0]
    given = _product(node, x, inner) + (inner[2] + outer[2])
    found: list[Tensor] = []
    for time in reversed(range(steps)) if backwards else range(steps):
        gates = torch.select(given, 0, time) + _product(node, hidden, outer)
        admit, show, keep, new = torch.chunk(gates, 4, -1)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(admit) * torch.tanh(new)
        hidden = torch.sigmoid(show) * torch.tanh(cell)
        found.append(hidden)
    if backwards:
        found.reverse()
    return torch.stack(found), hidden, cell


def _product(node: Node, x: Tensor, weights: Weights) -> Tensor:
    values, scale, _ = weights
    whole, step, zero = apply(node, "DynamicQuantizeLinear", 11, x, **{ATTRIBUTE: rule_of(node)})
    sums = torch.matmul(whole - zero.to(whole.dtype), values.to(whole.dtype))
    return sums * (step * scale.to(x.dtype))
