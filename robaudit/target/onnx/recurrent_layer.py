"""Running one direction of a recurrent layer.

The usual variants run as torch's own layer; all others (other activations, clipping, peepholes, sequences of
their own lengths) step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = tuple[str, tuple[float, ...]]
"""An activation's name and its arguments (alpha, beta)."""
Plan = tuple[str, tuple[Activation, ...], float | None, bool, bool, bool]
"""Operator, activations, clip, variant (LSTM: input and forget gate coupled; GRU: linear before reset), backwards,
and whether torch's own layer computes it. Plain values only: a plan is an argument in a recorded program."""
State = list[Tensor]

ARGUMENTS: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("relu", "tanh", "sigmoid", "softsign", "softplus"), ()),
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01,),
    "thresholdedrelu": (1.0,),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0,),
}
"""Every activation, with the default values of its arguments."""
_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softsign": F.softsign,
    "softplus": F.softplus,
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "leakyrelu": F.leaky_relu,
    "thresholdedrelu": lambda x, alpha: F.threshold(x, alpha, 0.0),
    "scaledtanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "hardsigmoid": lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0.0, 1.0),
    "elu": F.elu,
}
_NATIVE: dict[str, Callable[..., Any]] = {
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
    "GRU": torch.gru,
    "LSTM": torch.lstm,
}


def run_layer(
    plan: Plan,
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    peepholes: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, ...]:
    """All hidden states [length, batch, hidden], and the last state (hidden; LSTM: and cell).

    Args:
        plan: what to compute.
        x: [length, batch, input].
        states: the first state, each [batch, hidden].
        parameters: weight [gates * hidden, input], recurrence [gates * hidden, hidden] and both biases, the
            gates in torch's order (LSTM input, forget, cell, output; GRU reset, update, new).
        peepholes: of an LSTM, [3 * hidden] in ONNX's order (input, output, forget).
        lengths: of the sequences, [batch].
    """
    backwards, native = plan[4:]
    if x.is_meta:  # only shapes are asked for: a step each would take long
        return x.new_empty([x.shape[0], *states[0].shape]), *(torch.empty_like(state) for state in states)
    if native:
        try:
            return _native(plan, torch.flip(x, [0]) if backwards else x, states, parameters)
        except RuntimeError:
            pass  # torch has no rule for its layer under vmap
    return _stepwise(plan, x, list(states), parameters, peepholes, lengths)


def _native(plan: Plan, x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    op, activations, backwards = plan[0], plan[1], plan[4]
    first = tuple(torch.unsqueeze(value, 0) for value in states)
    layer = _NATIVE[activations[0][0] if op == "RNN" else op]
    start = first if op == "LSTM" else first[0]
    y, *final = layer(x, start, list(parameters), True, 1, 0.0, False, False, False)
    return torch.flip(y, [0]) if backwards else y, *(torch.squeeze(value, 0) for value in final)


def _stepwise(
    plan: Plan,
    x: Tensor,
    state: State,
    parameters: Sequence[Tensor],
    peepholes: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, ...]:
    weight, recurrence, bias, recurrent_bias = parameters
    projected = F.linear(x, weight, bias)
    cell = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}[plan[0]](plan, recurrence, recurrent_bias, peepholes)
    outputs: list[Tensor] = []
    steps = range(x.shape[0])
    for t in reversed(steps) if plan[4] else steps:
        new = cell(projected[t], state)
        if lengths is None:
            state = new
            outputs.append(new[0])
        else:
            # Past its end a sequence waits in its state (backwards: has not begun), and its output is zero.
            inside = torch.unsqueeze(lengths > t, 1)
            state = [torch.where(inside, b, a) for a, b in zip(state, new, strict=True)]
            outputs.append(torch.where(inside, new[0], 0.0))
    if plan[4]:
        outputs.reverse()
    return torch.stack(outputs, 0), *state


Cell = Callable[[Tensor, State], State]
Maker = Callable[[Plan, Tensor, Tensor, Tensor | None], Cell]


def _gate(plan: Plan, position: int) -> Callable[[Tensor], Tensor]:
    """An activation, its input clipped."""
    (name, numbers), clip = plan[1][position], plan[2]
    function = _ACTIVATIONS[name]
    return lambda x: function(x if clip is None else torch.clamp(x, -clip, clip), *numbers)


def _rnn(plan: Plan, recurrence: Tensor, bias: Tensor, peepholes: Tensor | None) -> Cell:
    activate = _gate(plan, 0)
    return lambda projected, state: [activate(projected + F.linear(state[0], recurrence, bias))]


def _gru(plan: Plan, recurrence: Tensor, bias: Tensor, peepholes: Tensor | None) -> Cell:
    gate, new, linear_first, size = _gate(plan, 0), _gate(plan, 1), plan[3], recurrence.shape[1]
    split = 2 * size

    def cell(projected: Tensor, state: State) -> State:
        (h,) = state
        back = F.linear(h, recurrence[:split], bias[:split])
        r, z = torch.split(gate(projected[:, :split] + back), size, -1)
        own, own_bias = recurrence[split:], bias[split:]
        reset = r * F.linear(h, own, own_bias) if linear_first else F.linear(r * h, own, own_bias)
        return [(1 - z) * new(projected[:, split:] + reset) + z * h]

    return cell


def _lstm(plan: Plan, recurrence: Tensor, bias: Tensor, peepholes: Tensor | None) -> Cell:
    gate, new, coupled, size = _gate(plan, 0), _gate(plan, 1), plan[3], recurrence.shape[1]
    name, numbers = plan[1][2]  # the cell's own value is not clipped
    seen: Sequence[Tensor | None] = [None] * 3 if peepholes is None else torch.split(peepholes, size)

    def opened(value: Tensor, cell: Tensor, peephole: Tensor | None) -> Tensor:
        return gate(value if peephole is None else value + peephole * cell)

    def cell(projected: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = torch.split(projected + F.linear(h, recurrence, bias), size, -1)
        enter = opened(i, c, seen[0])
        keep = 1 - enter if coupled else opened(f, c, seen[2])
        c = keep * c + enter * new(g)
        return [opened(o, c, seen[1]) * _ACTIVATIONS[name](c, *numbers), c]

    return cell
