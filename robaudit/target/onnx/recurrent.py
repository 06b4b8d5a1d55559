"""Recurrent layers: RNN, GRU and LSTM."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.arguments import constant, ints, is_known
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.recurrent_layer import ARGUMENTS, Activation, Plan, run_layer
from robaudit.target.onnx.registry import Result, operator
from robaudit.target.onnx.tracing import Traced

_DEFAULTS = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
# Where torch puts ONNX's gates: LSTM iofc -> ifco, GRU zrh -> rzh.
_GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 2, 3, 1]}


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
    count, rows, size = weight.shape[0], weight.shape[1], recurrence.shape[2]
    if bias is None:
        bias = constant([count, 2 * rows], 0.0, x.dtype)
    # Zeros made of x: their shape follows the batch.
    start = torch.zeros_like(x[0, :, :1]).expand([x.shape[1], size])
    outputs: list[Tensor] = []
    finals: list[list[Tensor]] = []
    for i in range(count):
        plan = _plan(node, i, count, special=peepholes is not None or lengths is not None)
        order = _GATES[node.op]
        parameters = [
            value if order == [0] else torch.cat([value[g * size : (g + 1) * size] for g in order], 0)
            for value in (weight[i], recurrence[i], bias[i, :rows], bias[i, rows:])
        ]
        peephole = None if peepholes is None else peepholes[i]
        # A state for one sample, baked into a file, is every sample's.
        states = [start if s is None else s[i].expand(start.shape) for s in given]
        if any(state.shape != start.shape for state in states):  # torch's layer would read past their end
            raise ValueError("the initial state is of another batch size")
        y, *final = _recorded(plan, x, states, parameters, peephole, lengths)
        outputs.append(y)
        finals.append(final)
    y = torch.stack(outputs, 1)  # [length, directions, batch, hidden]
    last = [torch.stack(parts, 0) for parts in zip(*finals, strict=True)]
    if batch_first:
        y, last = torch.permute(y, [2, 0, 1, 3]), [value.transpose(0, 1) for value in last]
    return y, *last


def _plan(node: Node, direction: int, count: int, *, special: bool) -> Plan:
    """How one direction computes; ``special``: it takes inputs that torch's layer does not."""
    activations = _activations(node, count)
    each = len(_DEFAULTS[node.op])
    own = tuple(activations[direction * each : (direction + 1) * each])
    clip = node.attributes.get("clip")
    coupled, linear_first = bool(node.integer("input_forget", 0)), bool(node.integer("linear_before_reset", 0))
    names = [name for name, _ in own]
    usual = names == _DEFAULTS[node.op] or (node.op == "RNN" and names == ["relu"])
    native = usual and not special and clip is None and not coupled and (node.op != "GRU" or linear_first)
    backwards = direction == 1 or node.text("direction", "forward") == "reverse"
    return (node.op, own, None if clip is None else float(clip), coupled or linear_first, backwards, native)


def _activations(node: Node, directions: int) -> list[Activation]:
    """All directions' activations; the attributes' alphas and betas go to those that take any, in order."""
    names = [str(name).lower() for name in node.attributes.get("activations") or _DEFAULTS[node.op] * directions]
    alphas = list(node.attributes.get("activation_alpha") or [])
    betas = list(node.attributes.get("activation_beta") or [])
    found: list[Activation] = []
    for name in names:
        if name not in ARGUMENTS:
            raise node.unsupported(f"activation {name}")
        numbers = (
            float(left.pop(0)) if left else default
            for left, default in zip((alphas, betas), ARGUMENTS[name], strict=False)
        )
        found.append((name, tuple(numbers)))
    return found


def _recorded(plan: Plan, x: Tensor, states: list[Tensor], *more: object) -> tuple[Tensor, ...]:
    """Run the layer; in a trace it becomes one node, not one for each time step and product."""
    traced = next((v for v in (x, *states) if isinstance(v, Traced)), None)
    if traced is None:
        return run_layer(plan, x, states, *more)  # type: ignore[arg-type]
    result: tuple[Tensor, ...] = traced.recorder.call(run_layer, (plan, x, states, *more), {})
    return result
