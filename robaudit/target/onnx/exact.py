"""ONNX Runtime's arithmetic in float32, to the last bit, where a quantiser follows.

A quantiser turns the last bit of what it rounds into a whole step. In a graph that quantises activations, operators
whose kernels in ONNX Runtime add in another order than torch's, or use another polynomial, are computed here as its
CPU kernels for x86-64 with AVX2 and AVX-512 do it: same constants, same order, multiplications and additions in one
step where they are. The order of sums was found by comparing bits with ONNX Runtime 1.31 (see
tests/target/onnx/test_exact.py). The gradient is that of the smooth operator. Other graphs have no need of it and are
left alone.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import is_known
from robaudit.target.onnx.graph import Graph, Node
from robaudit.target.onnx.straight_through import STRAIGHT, through

MARK = "exact"
"""Attribute of a node whose last bit matters."""

_OPERATORS = frozenset(
    (
        *("Erf", "Sigmoid", "HardSwish", "HardSigmoid", "Softmax", "Sqrt", "GlobalAveragePool"),
        *("LayerNormalization", "InstanceNormalization", "BatchNormalization", "ReduceMean", "ReduceL2"),
    )
)
_ROUNDING = ("QuantizeLinear", "DynamicQuantize", "QLinear", "QGemm", "QAttention", "QEmbed")
_LANES = 8


def marked(graph: Graph) -> Graph:
    """The graph with its nodes marked, if it quantises activations."""
    if not any(node.op.startswith(_ROUNDING) for node in graph.walk()):
        return graph
    return _marked(graph)


def _marked(graph: Graph) -> Graph:
    nodes = []
    for node in graph.nodes:
        if node.op in _OPERATORS and not node.domain:
            node = replace(node, attributes={**node.attributes, MARK: 1})
        if node.graphs:
            node = node.with_graphs({name: _marked(inner) for name, inner in node.graphs.items()})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def matters(node: Node, x: Tensor) -> bool:
    """Whether a node on this input is to be computed as ONNX Runtime does."""
    return x.dtype == torch.float32 and bool(node.integer(MARK, 0))


def _cut(x: Tensor, start: int, stop: int | None = None) -> Tensor:
    """[..., stop - start] of the last dimension."""
    return torch.narrow(x, -1, start, (x.shape[-1] if stop is None else min(stop, x.shape[-1])) - start)


def _neighbours(x: Tensor) -> Tensor:
    """Sums of two and two neighbours in the last dimension."""
    pairs = torch.unflatten(x, -1, (-1, 2))
    return torch.select(pairs, -1, 0) + torch.select(pairs, -1, 1)


def valued(value: Tensor, path: Tensor) -> Tensor:
    """The value computed here, with the gradient of torch's own operator."""
    return through(value, path, STRAIGHT)


@functools.cache
def _addcmul_rounds_once() -> bool:
    """Whether this torch's addcmul is a fused multiply-add: it is on x86-64 with FMA."""
    a = torch.full((64,), 1 + 2.0**-12)
    return bool((torch.addcmul(torch.tensor(-1.0), a, a) == 2.0**-11 + 2.0**-24).all())


def fma(a: Tensor | float, b: Tensor, c: Tensor | float) -> Tensor:
    """a * b + c, rounded once."""
    if _addcmul_rounds_once():
        return torch.addcmul(_spread(c, b), _spread(a, b), b)
    left, right = (v if isinstance(v, Tensor) else torch.tensor(v) for v in (a, c))
    return (left.double() * b.double() + right.double()).float()


def _spread(value: Tensor | float, like: Tensor) -> Tensor:
    """A single number as often as there are others: addcmul takes what is not written out one at a time."""
    if isinstance(value, Tensor) and (value.numel() != 1 or not is_known(value) or is_known(like)):
        return value
    return torch.full_like(like, float(value))


def sqrt(x: Tensor) -> Tensor:
    """Correctly rounded, which torch's own is not everywhere."""
    return torch.sqrt(x.double()).float()


def _polynomial(x: Tensor, first: float, *rest: float) -> Tensor:
    """Horner's rule in fused steps."""
    y = fma(first, x, rest[0])
    for coefficient in rest[1:]:
        y = fma(y, x, coefficient)
    return y


def _single(*numbers: float) -> tuple[float, ...]:
    """Rounded to float32."""
    return tuple(torch.tensor(numbers, dtype=torch.float32).tolist())


_LOG2E, _LN2_HIGH, _LN2_LOW, _LOWEST = _single(1.44269504088896341, -6.93145752e-1, -1.42860677e-6, -88.3762626647949)
_TO_WHOLE = 12582912.0
"""Added and taken off again, it rounds a float32 to a whole number."""


def _exp(x: Tensor, *coefficients: float) -> Tensor:
    """Powers of e by powers of 2 and a polynomial for the rest."""
    x = torch.clamp(x, min=_LOWEST)
    power = fma(_LOG2E, x, _TO_WHOLE) - _TO_WHOLE
    rest = fma(_LN2_LOW, power, fma(_LN2_HIGH, power, x))
    return _polynomial(rest, *coefficients) * torch.exp2(power)


_EXP = tuple(
    float.fromhex(number)
    for number in ("0x1.694p-10", "0x1.125edcp-7", "0x1.555b5ap-5", "0x1.55545p-3", "0x1.fffff6p-2", "0x1p0", "0x1p0")
)
_ERF_EXP = _single(1.38319808e-3, 8.37550033e-3, 4.16689515e-2, 1.66664466e-1, 4.99999851e-1, 1.0, 1.0)
_ERF_SMALL = _single(-5.99104969e-4, 4.99339588e-3, -2.67667342e-2, 1.12818025e-1, -3.76124859e-1, 1.28379151e-1)
_ERF_BIG = _single(
    1.72948930e-5, -3.83208680e-4, 3.88393435e-3, -2.42545605e-2, 1.06777847e-1, 6.34846687e-1, 1.28717512e-1
)
(_ERF_END,) = _single(3.925)


def erf(x: Tensor) -> Tensor:
    """The error function."""
    value = x.detach()
    size = torch.clamp(torch.abs(value), max=_ERF_END)
    small = fma(_polynomial(size * size, *_ERF_SMALL), size, size)
    big = 1.0 - _exp(-fma(_polynomial(size, *_ERF_BIG), size, size), *_ERF_EXP)
    return valued(torch.copysign(torch.where(size > 0.921875, big, small), value), torch.erf(x))


_LOGISTIC_OVER = _single(
    4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01
)
_LOGISTIC_UNDER = _single(
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function."""
    value = torch.clamp(x.detach(), -18.0, 18.0)
    square = value * value
    over = _polynomial(square, *_LOGISTIC_OVER) * value
    value = torch.clamp(over / _polynomial(square, *_LOGISTIC_UNDER) + 0.5, 0.0, 1.0)
    return valued(value, torch.sigmoid(x))


def hard_swish(x: Tensor) -> Tensor:
    """x times a ramp from -3 to 3."""
    value = x.detach()
    return valued(value * _ramp(value, 1 / 6, 0.5), F.hardswish(x))


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """A ramp from 0 to 1."""
    return valued(_ramp(x.detach(), alpha, beta), torch.clamp(x * alpha + beta, 0.0, 1.0))


def _ramp(x: Tensor, alpha: float, beta: float) -> Tensor:
    # No clamp: the recorded program would take it for torch's own hard sigmoid, which rounds otherwise.
    zero, one = torch.zeros(()), torch.ones(())
    return torch.minimum(torch.maximum(x * _single(alpha)[0] + _single(beta)[0], zero), one)


def softmax(x: Tensor, axis: int) -> Tensor:
    """Along an axis; sums in 16 lanes."""
    rows = x.detach().transpose(axis, -1)
    powers = _exp(rows - torch.amax(rows, -1, keepdim=True), *_EXP)
    lanes = _in_lanes(F.pad(powers, [0, -rows.shape[-1] % 16]), 16)
    lanes = _cut(lanes, 0, 8) + _cut(lanes, 8)
    lanes = _neighbours(_neighbours(lanes))
    total = _cut(lanes, 0, 1) + _cut(lanes, 1)
    return valued((powers * (1.0 / total)).transpose(axis, -1), torch.softmax(x, axis))


def sum_in_order(x: Tensor) -> Tensor:
    """Along the last axis, one after the other; the axis stays."""
    # The sum in a pooling window is made so, and much faster than by an addition each.
    total = F.avg_pool2d(x.reshape([1, 1, -1, x.shape[-1]]), [1, x.shape[-1]], divisor_override=1)
    return total.reshape([*x.shape[:-1], 1])


def _in_lanes(x: Tensor, width: int) -> Tensor:
    """Sums of every ``width``-th element of the last axis, each in order."""
    rows = x.reshape([1, -1, x.shape[-1] // width, width])
    return F.avg_pool2d(rows, [x.shape[-1] // width, 1], divisor_override=1).reshape([*x.shape[:-1], width])


def _crossed(lanes: Tensor) -> Tensor:
    """The sum of four lanes."""
    lanes = _cut(lanes, 0, 2) + _cut(lanes, 2)
    return _cut(lanes, 0, 1) + _cut(lanes, 1)


def _one_by_one(total: Tensor, x: Tensor) -> Tensor:
    for i in range(x.shape[-1]):
        total = total + _cut(x, i, i + 1)
    return total


def sum_by_four(x: Tensor) -> Tensor:
    """Along the last axis in four lanes, what is left one after the other; the axis stays."""
    whole = x.shape[-1] // 4 * 4
    if not whole:
        return sum_in_order(x)
    return _one_by_one(_crossed(_in_lanes(_cut(x, 0, whole), 4)), _cut(x, whole))


def sum_of_rows(x: Tensor) -> Tensor:
    """Along the last axis, as Eigen adds contiguous rows: two times four lanes from where memory is aligned.

    Where rows do not fill whole lanes, where that is depends on the row: it is row 0, 1, 2 or 3 of four.
    """
    size = x.shape[-1]
    kinds = 1 if size % 4 == 0 else 4
    heads = [-row * size % 4 for row in range(kinds)]
    if kinds == 1 or x.dim() < 2:
        return _aligned_sum(x, heads[0])
    places = torch.tensor([_places(size, head) for head in heads])
    rows = x.shape[-2]
    index = places.repeat(-(-rows // kinds), 1)[:rows].expand([*x.shape[:-1], places.shape[1]])
    spread = torch.gather(F.pad(x, [0, 1]), -1, index)
    whole = places.shape[1] - 4 - 6
    return _sum_of_parts(_cut(spread, 0, whole), _cut(spread, whole, whole + 4), _cut(spread, whole + 4))


def _aligned_sum(x: Tensor, head: int) -> Tensor:
    size = x.shape[-1]
    pairs, left = (size - head) // 8 * 8, (size - head) % 8
    if size - head < 4:
        return sum_in_order(x)
    body, rest = _cut(x, head, head + pairs), _cut(x, head + pairs)
    four = _cut(rest, 0, 4) if left >= 4 else None
    scalars = torch.cat([_cut(x, 0, head), _cut(rest, 4) if left >= 4 else rest], -1)
    return _sum_of_parts(body, four, scalars)


def _sum_of_parts(body: Tensor, four: Tensor | None, scalars: Tensor) -> Tensor:
    lanes = None
    if body.shape[-1]:
        lanes = _in_lanes(body, 8)
        lanes = _cut(lanes, 0, 4) + _cut(lanes, 4)
    if four is not None:
        lanes = four if lanes is None else lanes + four
    assert lanes is not None
    return _one_by_one(_crossed(lanes), scalars)


def _places(size: int, head: int) -> list[int]:
    """Which element goes where: pairs of lanes, four single lanes, six scalars; ``size`` is a zero."""
    most = size // 8 * 8
    whole = (size - head) // 4 * 4 if size >= head else 0
    pairs = whole // 8 * 8
    body = [*range(head, head + pairs), *[size] * (most - pairs)]
    four = [*range(head + pairs, head + whole)] or [size] * 4
    scalars = [*range(min(head, size)), *range(head + whole, size)]
    return [*body, *four, *scalars, *[size] * (6 - len(scalars))]


def layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None, epsilon: float, path: Tensor) -> Tensor:
    """Over the last axis, of whole eights: the mean in float64, squares in eight lanes."""
    value, size = x.detach(), x.shape[-1]
    mean = torch.mean(value.double(), -1, keepdim=True).float()
    centred = value - mean
    parts = centred.reshape([*x.shape[:-1], size // _LANES, _LANES]).unbind(-2)
    lanes = parts[0] * parts[0]
    for part in parts[1:]:
        lanes = fma(part, part, lanes)
    variance = _crossed(_cut(lanes, 0, 4) + _cut(lanes, 4)) / size
    normal = centred * (1.0 / sqrt(variance + epsilon))
    return valued(normal * scale if bias is None else fma(normal, scale, bias), path)


def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float, path: Tensor) -> Tensor:
    """Of rows [N, C, size]; scale and bias [C, 1]."""
    rows = x.detach().flatten(2)
    size = rows.shape[-1]
    mean = sum_of_rows(rows) / size
    centred = rows - mean
    # What is computed on the way lies nowhere in memory, hence aligned from its start.
    factor = 1.0 / sqrt(_aligned_sum(centred * centred, 0) / size + epsilon) * scale
    return valued((rows * factor + (bias - mean * factor)).reshape(list(x.shape)), path)
