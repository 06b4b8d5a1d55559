"""Recurrent layers: RNN, GRU and LSTM.

The usual variants run as torch's own layer; all others (other activations, clipping, peepholes, sequences of
their own lengths) as a loop that the trace unrolls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import constant, ints, is_known
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator
from robaudit.target.onnx.tracing import Traced

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]

# Arguments of each activation with their defaults; alpha and beta are listed for those that take them only.
_ARGUMENTS: dict[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01,),
    "thresholdedrelu": (1.0,),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0,),
}
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
_DEFAULTS = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
# Where torch puts ONNX's gates: LSTM iofc -> ifco, GRU zrh -> rzh.
_GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}
_NATIVE: dict[str, Callable[..., Any]] = {
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
    "GRU": torch.gru,
    "LSTM": torch.lstm,
}


@dataclass(frozen=True)
class _Direction:
    """One direction's parameters (gates along the first axis), and how its cell computes."""

    weight: Tensor  # [gates * hidden, input]
    recurrence: Tensor  # [gates * hidden, hidden]
    bias: Tensor  # [gates * hidden]
    recurrent_bias: Tensor
    peepholes: Tensor | None  # [3 * hidden]
    names: list[str]
    functions: list[Activation]


@operator("RNN", "GRU", "LSTM")
def _recurrent(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> Result:
    batch_first = bool(node.integer("layout", 0))
    given = [hidden, cell] if node.op == "LSTM" else [hidden]
    if batch_first:
        x = x.transpose(0, 1)
        given = [None if value is None else value.transpose(0, 1) for value in given]
    if is_known(lengths) and lengths is not None and all(n == x.shape[0] for n in ints(lengths)):
        lengths = None
    count, size = weight.shape[0], recurrence.shape[2]
    if bias is None:
        bias = constant([count, 2 * weight.shape[1]], 0.0, x.dtype)
    # Zeros made of x: a known state would meet known weights at once, and the result have the batch in its shape.
    start = torch.zeros_like(x[0, :, :1]).expand([x.shape[1], size])
    outputs: list[Tensor] = []
    finals: list[State] = []
    activations = _activations(node, count)
    for i in range(count):
        half = weight.shape[1]
        names, functions = activations[i]
        peephole = None if peepholes is None else peepholes[i]
        direction = _Direction(weight[i], recurrence[i], bias[i, :half], bias[i, half:], peephole, names, functions)
        backwards = i == 1 or node.text("direction", "forward") == "reverse"
        y, final = _layer(node, x, tuple(start if s is None else s[i] for s in given), direction, lengths, backwards)
        outputs.append(y)
        finals.append(final)
    y = torch.stack(outputs, 1)  # [length, directions, batch, hidden]
    last = [torch.stack(parts, 0) for parts in zip(*finals, strict=True)]
    if batch_first:
        y, last = torch.permute(y, [2, 0, 1, 3]), [value.transpose(0, 1) for value in last]
    return y, *last


def _activations(node: Node, directions: int) -> list[tuple[list[str], list[Activation]]]:
    """Each direction's activations by name and as functions; alphas and betas are handed out in order."""
    names = [str(name).lower() for name in node.attributes.get("activations") or _DEFAULTS[node.op] * directions]
    alphas = list(node.attributes.get("activation_alpha") or [])
    betas = list(node.attributes.get("activation_beta") or [])
    functions: list[Activation] = []
    for name in names:
        if name not in _ACTIVATIONS:
            raise node.unsupported(f"activation {name}")
        numbers = [
            float(left.pop(0)) if left else default
            for left, default in zip((alphas, betas), _ARGUMENTS.get(name, ()), strict=False)
        ]
        functions.append(_bound(_ACTIVATIONS[name], numbers))
    each = len(_DEFAULTS[node.op])
    parts = [slice(i * each, (i + 1) * each) for i in range(directions)]
    return [(names[part], functions[part]) for part in parts]


def _bound(function: Callable[..., Tensor], numbers: list[float]) -> Activation:
    return lambda x: function(x, *numbers)


def _layer(
    node: Node, x: Tensor, state: State, direction: _Direction, lengths: Tensor | None, backwards: bool
) -> tuple[Tensor, State]:
    """Run one direction over x [length, batch, input]: all hidden states [length, batch, hidden], and the last."""
    native = _native(node, direction)
    if native is None or lengths is not None:
        return _unrolled(node, x, state, direction, lengths, backwards)
    if backwards:
        x = torch.flip(x, [0])
    size = direction.recurrence.shape[1]
    order = _GATES[node.op]
    parameters = [
        value if order == [0] else torch.cat([value[g * size : (g + 1) * size] for g in order], 0)
        for value in (direction.weight, direction.recurrence, direction.bias, direction.recurrent_bias)
    ]
    y, *final = _recorded(torch_layer, native, x, state, *parameters)
    return (torch.flip(y, [0]) if backwards else y), tuple(final)


def _native(node: Node, direction: _Direction) -> str | None:
    """The torch layer that computes exactly this, if any."""
    if "clip" in node.attributes or direction.peepholes is not None or node.integer("input_forget", 0):
        return None
    if node.op == "RNN":
        return direction.names[0] if direction.names[0] in ("tanh", "relu") else None
    if node.op == "GRU" and not node.integer("linear_before_reset", 0):
        return None
    return node.op if direction.names == _DEFAULTS[node.op] else None


def torch_layer(
    kind: str, x: Tensor, state: State, weight: Tensor, recurrence: Tensor, bias: Tensor, recurrent_bias: Tensor
) -> tuple[Tensor, ...]:
    """torch's own recurrent layer over x [length, batch, input], gates in torch's order.

    Returns the hidden states [length, batch, hidden] and the last state. Where torch cannot (it has no rule
    for vmap), the same step by step.
    """
    first = tuple(torch.unsqueeze(value, 0) for value in state)
    start = first if kind == "LSTM" else first[0]
    parameters = [weight, recurrence, bias, recurrent_bias]
    try:
        y, *final = _NATIVE[kind](x, start, parameters, True, 1, 0.0, False, False, False)
    except RuntimeError:
        return _stepwise(kind, x, state, *parameters)
    return y, *(torch.squeeze(value, 0) for value in final)


def _stepwise(
    kind: str, x: Tensor, state: State, weight: Tensor, recurrence: Tensor, bias: Tensor, recurrent_bias: Tensor
) -> tuple[Tensor, ...]:
    projected = F.linear(x, weight, bias)
    hidden, *more = state
    outputs = []
    for t in range(x.shape[0]):
        now, back = projected[t], F.linear(hidden, recurrence, recurrent_bias)
        if kind == "LSTM":
            i, f, g, o = torch.chunk(now + back, 4, -1)
            more = [torch.sigmoid(f) * more[0] + torch.sigmoid(i) * torch.tanh(g)]
            hidden = torch.sigmoid(o) * torch.tanh(more[0])
        elif kind == "GRU":
            (r, z, n), (r_back, z_back, n_back) = torch.chunk(now, 3, -1), torch.chunk(back, 3, -1)
            keep = torch.sigmoid(z + z_back)
            new = torch.tanh(n + torch.sigmoid(r + r_back) * n_back)
            hidden = (1 - keep) * new + keep * hidden
        else:
            hidden = _ACTIVATIONS[kind](now + back)
        outputs.append(hidden)
    return torch.stack(outputs), hidden, *more


def _recorded(function: Callable[..., Any], kind: str, x: Tensor, state: State, *parameters: Tensor) -> Any:
    """Call a function of ours; in a trace it becomes one node, not what it consists of."""
    traced = next((v for v in (x, *state, *parameters) if isinstance(v, Traced)), None)
    if traced is None:
        return function(kind, x, state, *parameters)
    return traced.recorder.call(function, (kind, x, state, *parameters), {})


def _unrolled(
    node: Node, x: Tensor, state: State, direction: _Direction, lengths: Tensor | None, backwards: bool
) -> tuple[Tensor, State]:
    projected = F.linear(x, direction.weight, direction.bias)
    step = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}[node.op](node, direction)
    count = x.shape[0]
    outputs: list[Tensor] = []
    for t in reversed(range(count)) if backwards else range(count):
        new = step(projected[t], state)
        if lengths is None:
            state = new
            outputs.append(new[0])
        else:
            # Past its end a sequence waits in its state (backwards: has not begun), and its output is zero.
            inside = torch.unsqueeze(lengths > t, 1)
            state = tuple(torch.where(inside, b, a) for a, b in zip(state, new, strict=True))
            outputs.append(torch.where(inside, new[0], torch.zeros((), dtype=x.dtype)))
    if backwards:
        outputs.reverse()
    return torch.stack(outputs, 0), state


def _clipped(node: Node) -> Activation:
    limit = node.attributes.get("clip")
    return (lambda x: x) if limit is None else (lambda x: torch.clamp(x, -float(limit), float(limit)))


def _rnn_step(node: Node, d: _Direction) -> Step:
    clip = _clipped(node)

    def step(projected: Tensor, state: State) -> State:
        return (d.functions[0](clip(projected + F.linear(state[0], d.recurrence, d.recurrent_bias))),)

    return step


def _gru_step(node: Node, d: _Direction) -> Step:
    clip, size = _clipped(node), d.recurrence.shape[1]
    gate, new = d.functions
    first = bool(node.integer("linear_before_reset", 0))

    def step(projected: Tensor, state: State) -> State:
        (h,) = state
        split = 2 * size
        back = F.linear(h, d.recurrence[:split], d.recurrent_bias[:split])
        z, r = torch.split_with_sizes(gate(clip(projected[:, :split] + back)), [size, size], -1)
        own, own_bias = d.recurrence[split:], d.recurrent_bias[split:]
        reset = r * F.linear(h, own, own_bias) if first else F.linear(r * h, own, own_bias)
        return ((1 - z) * new(clip(projected[:, split:] + reset)) + z * h,)

    return step


def _lstm_step(node: Node, d: _Direction) -> Step:
    clip, size = _clipped(node), d.recurrence.shape[1]
    gate, new, out = d.functions
    coupled = bool(node.integer("input_forget", 0))
    peepholes = [None] * 3 if d.peepholes is None else list(torch.split_with_sizes(d.peepholes, [size] * 3))

    def seen(value: Tensor, cell: Tensor, peephole: Tensor | None) -> Tensor:
        return gate(clip(value if peephole is None else value + peephole * cell))

    def step(projected: Tensor, state: State) -> State:
        h, c = state
        whole = projected + F.linear(h, d.recurrence, d.recurrent_bias)
        i, o, f, g = torch.split_with_sizes(whole, [size] * 4, -1)
        enter = seen(i, c, peepholes[0])
        keep = 1 - enter if coupled else seen(f, c, peepholes[2])
        c = keep * c + enter * new(clip(g))
        return seen(o, c, peepholes[1]) * out(c), c

    return step
