"""What numbers the end of a graph can give: whether one number is a probability, its logarithm or a decision value.

One number in [0, 1] on a few samples may be a probability or a decision value; the operators that make it tell which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from robaudit.target.outputs.wiring import Wiring, attribute

__all__ = ["Interval", "Step", "bounds", "exported_steps", "onnx_steps", "script_steps"]

Interval: TypeAlias = tuple[float, float]
"""Lowest and highest, both possibly infinite."""

ANY: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)
ENDS: dict[str, Interval] = {
    **dict.fromkeys(("gemm", "matmul", "conv", "batchnormalization", "linear", "addmm", "mm", "bmm", "baddbmm"), ANY),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "_convolution", "convolution", "batch_norm", "layer_norm"), ANY),
    **dict.fromkeys(("leakyrelu", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "mish", "silu"), ANY),
    **dict.fromkeys(("tanh", "softsign", "erf", "sin", "cos"), (-1.0, 1.0)),
    **dict.fromkeys(("sigmoid", "hardsigmoid", "softmax", "_softmax"), (0.0, 1.0)),
    **dict.fromkeys(("logsoftmax", "log_softmax", "_log_softmax", "log_sigmoid", "logsigmoid"), (-math.inf, 0.0)),
    **dict.fromkeys(("relu", "softplus", "exp", "abs", "sqrt"), POSITIVE),
}
"""What operators give, whatever they are given; the names of ONNX and of torch, in lower case."""
PASSES = {
    "identity", "reshape", "flatten", "squeeze", "unsqueeze", "cast", "dropout", "transpose", "expand", "slice",
    "gather", "arrayfeatureextractor", "view", "_unsafe_view", "to", "_to_copy", "contiguous", "float", "double",
    "type_as", "clone", "alias", "select", "permute", "t",
}  # fmt: skip
"""Operators that hand on some of their numbers as they are."""
HELD = ("prim::Constant", "prim::GetAttr")
"""Nodes of TorchScript that give what is written in the file."""
CLIPS = {"clip", "clamp", "hardtanh"}
MOST = 32
"""Operators that are looked at."""


@dataclass(frozen=True)
class Step:
    """An operator, from the output backwards.

    Args:
        op: its name in lower case, without library and overload.
        held: range of its constant operand; of a clip, the limits; None where it has none.
        first: the constant is the first operand, as in 1 - x.
    """

    op: str
    held: Interval | None = None
    first: bool = False


def bounds(steps: Iterator[Step]) -> Interval | None:
    """The numbers that the first of some operators can give; None where that is not known."""
    passed: list[Step] = []
    found: Interval | None = None
    for step, _ in zip(steps, range(MOST), strict=False):
        if step.op in ENDS:
            found = ENDS[step.op]
            break
        if step.op not in PASSES:
            passed.append(step)
    if found is None and passed and passed[-1].op in CLIPS:
        found = ANY  # whatever is clipped
    for step in reversed(passed):
        found = None if found is None else _after(step, found)
    return found


def _after(step: Step, given: Interval) -> Interval | None:
    """What an operator makes of an interval."""
    low, high = given
    if step.op == "neg":
        return -high, -low
    if step.op == "log":
        return (_log(low), _log(high)) if low >= 0 else None
    if step.held is None:
        return ANY if given == ANY and step.op in ("add", "sub", "rsub", "mul", "div") else None
    first, last = step.held
    if step.op in CLIPS:
        return min(max(low, first), last), min(max(high, first), last)
    if step.op == "add":
        return low + first, high + last
    if step.op in ("sub", "rsub"):
        turned = step.first != (step.op == "rsub")
        return (first - high, last - low) if turned else (low - last, high - first)
    if step.op == "mul" or (step.op == "div" and not step.first and 0 not in step.held and first * last > 0):
        factors = (first, last) if step.op == "mul" else (1 / first, 1 / last)
        ends = [0.0 if 0 in (a, b) else a * b for a in given for b in factors]
        return min(ends), max(ends)
    return None


def _log(value: float) -> float:
    return -math.inf if value == 0 else math.log(value) if math.isfinite(value) else math.inf


def _range(array: Any) -> Interval | None:
    values = np.asarray(array)
    if values.size == 0 or values.dtype.kind not in "fiu":
        return None
    return float(values.min()), float(values.max())


def onnx_steps(wiring: Wiring, output: str) -> Iterator[Step]:
    """The operators that make an output of an ONNX graph, each the maker of the one before's tensor."""
    name = output
    while (node := wiring.maker(name)) is not None:
        op = node.op_type.lower()
        constant = [source for source in node.input if source and wiring.is_constant(source)]
        held = _limits(wiring, node) if op in CLIPS else _range(wiring.constant(constant[0])) if constant else None
        yield Step(op, held, bool(constant) and constant[0] == node.input[0])
        following = next((source for source in node.input if source and source not in constant), None)
        if following is None:
            return
        name = following


def _limits(wiring: Wiring, node: onnx.NodeProto) -> Interval:
    """Of a clip: attributes until opset 10, inputs since."""
    ends = []
    for place, (word, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        given = wiring.number(node.input[place]) if len(node.input) > place else attribute(node, word)
        ends.append(default if given is None else float(given))
    return ends[0], ends[1]


def script_steps(value: Any) -> Iterator[Step]:
    """The operators that make a value of a TorchScript graph."""
    while True:
        node = value.node()
        sources = list(node.inputs())
        op = node.kind().rpartition("::")[2].rstrip("_").lower()
        tensors = [s for s in sources if s.type().kind() == "TensorType" and s.node().kind() not in HELD]
        constants = [_constant(s) for s in sources if s not in tensors]
        yield _torch_step(op, constants, first=bool(sources) and sources[0] not in tensors)
        if not tensors or node.kind().startswith("prim::"):
            return
        value = tensors[0]


def exported_steps(node: Any) -> Iterator[Step]:
    """The operators that make a node of an exported program's graph."""
    while node.op == "call_function":
        op = str(getattr(node.target, "_schema", node.target)).partition("::")[2].partition("(")[0].partition(".")[0]
        computed = [arg for arg in node.args if getattr(arg, "op", None) == "call_function"]
        constants = [arg if isinstance(arg, int | float) and not isinstance(arg, bool) else None for arg in node.args]
        yield _torch_step(
            op.rstrip("_"),
            [c for c, arg in zip(constants, node.args, strict=True) if arg not in computed],
            first=bool(node.args) and node.args[0] not in computed,
        )
        if not computed:
            return
        node = computed[0]


def _torch_step(op: str, constants: Sequence[Any], *, first: bool) -> Step:
    """From the arguments that are no tensors, in order."""
    if op in CLIPS:
        low, high = [*constants, None, None][:2]
        default = (-1.0, 1.0) if op == "hardtanh" else ANY
        return Step(op, (default[0] if low is None else low, default[1] if high is None else high))
    numbers = [c for c in constants if c is not None]
    return Step(op, None if not numbers else _range(numbers[0]), first)


def _constant(value: Any) -> Any:
    """A number or array that is written in the graph, else None."""
    if value.node().kind() != "prim::Constant":
        return None
    found = value.toIValue()
    if hasattr(found, "detach"):
        return found.detach().cpu().double().numpy()
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None
