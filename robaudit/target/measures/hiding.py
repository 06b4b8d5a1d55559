"""Where a graph hides its gradient: how well the slope at each value in it foretells what a step does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.target.onnx import OnnxModule

__all__ = ["Hidden", "Station", "hidden_at", "looked_at"]

MOST = 48
"""Values of a graph at which slopes are looked at; of more, evenly many are."""
BLIND = 0.5
"""Share of the change that the slope at the input must miss for a part of the graph to be named."""
PART = 0.5
"""Parts that lose at least so much of what the part that loses most does are named beside it."""


@dataclass(frozen=True)
class Station:
    """A value that everything passes.

    Args:
        operators: ``Op (node)`` of what is computed between it and the next station.
        missed: median share of the change of the margin that its slope does not foretell, 0 to 1.
    """

    operators: tuple[str, ...]
    missed: float


@dataclass(frozen=True)
class Hidden:
    """A part of a graph that the gradient does not get through.

    Args:
        operators: ``Op (node)`` in it.
        before, after: what the slope misses at its input, and at its output.
    """

    operators: tuple[str, ...]
    before: float
    after: float


def looked_at(
    twin: OnnxModule, x: Tensor, moved: Tensor, label: Tensor, read: Callable[[Tensor], Tensor]
) -> list[Station]:
    """What the slopes at the values of a graph miss, from the input to the output.

    Of each sample and each of its moved copies the margin changes by some amount; the slope of the margin at a value on
    the way foretells another for how that value changed. What it misses is |foretold - real| over the larger of them,
    at most 1, and 1 where there is no slope at all.

    Args:
        twin: of the graph, with the tensor that is read as its output.
        x: [N, *file_shape] samples as the file takes them.
        moved: [N, M, *file_shape] copies.
        label: [N] reference classes.
        read: from that tensor to logits [N, K].
    """
    names = twin.stations()
    if len(names) > MOST:
        names = [names[round(i * (len(names) - 1) / (MOST - 1))] for i in range(MOST)]
    count, copies = moved.shape[:2]
    with torch.no_grad():
        start = twin.up_to(names)(x)
        ends = [twin.up_to(names)(moved[:, i]) for i in range(copies)]
        real = torch.stack([_margin(read(twin(moved[:, i])), label) for i in range(copies)], 1)
        real = real - _margin(read(twin(x)), label)[:, None]
    assert isinstance(start, dict)
    found = []
    for place, name in enumerate(names):
        value = start[name].detach()
        if not value.dtype.is_floating_point or len(value) != count:
            continue
        try:
            slope = _slope(twin.after(name, value.dtype), value, label, read)
        except Exception:  # a part that cannot stand by itself tells nothing
            continue
        steps = torch.stack([end[name] - value for end in ends], 1).flatten(2)
        foretold = (steps.double() * slope.flatten(1).double()[:, None]).sum(2)
        size = torch.maximum(foretold.abs(), real.abs()).clamp_min(1e-12)
        missed = ((foretold - real).abs() / size).clamp_max(1.0)
        missed[slope.flatten(1).abs().amax(1) == 0] = 1.0  # of a flat place it is not known what lies beyond
        following = names[place + 1] if place + 1 < len(names) else None
        found.append(Station(tuple(twin.between(name, following)), float(missed.median())))
    return found


def hidden_at(found: Sequence[Station]) -> list[Hidden]:
    """The parts of a graph that lose most of the gradient, the one that loses most first; none where little is lost."""
    if not found or max(station.missed for station in found) < BLIND:
        return []
    losses = []
    for place, station in enumerate(found):
        later = found[place + 1].missed if place + 1 < len(found) else 0.0
        losses.append((station.missed - later, place))
    most = max(loss for loss, _ in losses)
    if most <= 0:
        return []
    named = sorted((entry for entry in losses if entry[0] >= PART * most), reverse=True)
    return [Hidden(found[place].operators, found[place].missed, found[place].missed - loss) for loss, place in named]


def _margin(logits: Tensor, label: Tensor) -> Tensor:
    """[N] lead of the best other class."""
    own = logits.gather(1, label[:, None])[:, 0]
    others = logits.scatter(1, label[:, None], -torch.inf)
    return (others.amax(1) - own).double()


def _slope(part: OnnxModule, value: Tensor, label: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of the margin at a value; zero where there is no way from it."""
    leaf = value.clone().requires_grad_()
    with torch.enable_grad():
        margin = _margin(read(part(leaf)), label).sum()
        if not margin.requires_grad:
            return torch.zeros_like(value)
        found = torch.autograd.grad(margin, leaf, allow_unused=True)[0]
    return torch.zeros_like(value) if found is None else found.nan_to_num(0.0, 0.0, 0.0)
