"""Bounds through a whole program, and the lowest lead at its end, into which its linear end is merged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from robaudit.certificates.intervals.calls import Call, UnknownCallError, name_of
from robaudit.certificates.intervals.operators import AFFINE, bounds_of
from robaudit.certificates.intervals.values import Bounds, Spread
from robaudit.certificates.subject import Region, Subject
from robaudit.threat.norms import Norm

__all__ = ["Propagated", "propagate"]

LARGEST = 1e37
"""Beyond this float32 may overflow, and nothing is proved."""
MOST_NUMBERS = 2**24
"""Coefficients held at once on the way back through the linear end."""
OWN = 2.0**-52
"""Relative error of one operation of these bounds themselves."""


@dataclass(frozen=True)
class Propagated:
    """What every value of a program can be, and the calls that made them."""

    bounds: Mapping[fx.Node, Bounds]
    calls: Mapping[fx.Node, Call]
    output: fx.Node
    source: fx.Node

    @property
    def finite(self) -> bool:
        """Whether no value on the way can overflow in the file."""
        return all(bool((found.size + found.slack < LARGEST).all()) for found in self.bounds.values())

    def lead(self, weights: Tensor, offsets: Tensor) -> Tensor:
        """[R] lower bounds of ``weights @ z + offsets``, of the program's output z, flattened.

        The affine calls at the end are merged into the weights (the elision of the last layer, Gowal 2018, section 3,
        carried on through all of them), so that for an affine model nothing is lost.

        Args:
            weights: [R, n]; ``offsets``: [R].
        """
        widest = max(found.low.numel() for found in self.bounds.values())
        rows = max(1, MOST_NUMBERS // widest)
        starts = range(0, len(offsets), rows)
        return torch.cat([self._lead(weights[i : i + rows], offsets[i : i + rows]) for i in starts])

    def _lead(self, weights: Tensor, offsets: Tensor) -> Tensor:
        end = self.bounds[self.output]
        held: dict[fx.Node, Tensor] = {self.output: weights.reshape(-1, *end.low.shape)}
        total = offsets.clone()
        for node in reversed(list(self.bounds)):
            if node not in held:
                continue
            coefficients, found = held.pop(node), self.bounds[node]
            call = self.calls.get(node)
            if call is None or not _is_affine(call):
                total = total + _least(coefficients, found)
                continue
            total = total - _over(coefficients.abs(), found.slack)
            zeros = [torch.zeros_like(x.low) for x in call.given]
            total = total + _over(coefficients, call.at(*zeros))
            pulled = torch.func.vjp(call.at, *zeros)[1]
            back: tuple[Tensor, ...] = torch.func.vmap(pulled)(coefficients)
            for source, gradient in zip(self._sources(node), back, strict=True):
                held[source] = held[source] + gradient if source in held else gradient
            total = total - self._own(coefficients, call.at(*(x.size for x in call.given)))
        return total

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        """The nodes of a call's bounds, in their order."""
        return [source for source in _mentioned(node) if source in self.bounds]

    @staticmethod
    def _own(coefficients: Tensor, size: Tensor) -> Tensor:
        return _over(coefficients.abs(), size.abs()) * (OWN * coefficients[0].numel())


def _mentioned(node: fx.Node) -> Iterator[fx.Node]:
    for arg in (*node.args, *node.kwargs.values()):
        for part in arg if isinstance(arg, list | tuple) else (arg,):
            if isinstance(part, fx.Node):
                yield part


def _is_affine(call: Call) -> bool:
    return call.name in AFFINE or (call.name in ("mul", "div") and len(call.given) == 1)


def _over(coefficients: Tensor, value: Tensor) -> Tensor:
    """[R, *shape] times [*shape], summed to [R]."""
    total: Tensor = (coefficients * value).flatten(1).sum(1)
    return total


def _least(coefficients: Tensor, found: Bounds) -> Tensor:
    """[R] the least sum of coefficients times values within bounds."""
    low, high = found.low, found.high
    least = _over(coefficients, (low + high) / 2) - _over(coefficients.abs(), (high - low) / 2)
    if found.spread is not None and found.spread.norm is not Norm.LINF:
        least = torch.maximum(least, _least_of_spread(coefficients, found.spread))
    return least - OWN * (coefficients[0].numel() + 8) * _over(coefficients.abs(), found.size)


def _least_of_spread(coefficients: Tensor, spread: Spread) -> Tensor:
    """The same of a moved input, by the dual norm of its ball."""
    order = 2.0 if spread.norm is Norm.L2 else math.inf
    reach = torch.linalg.vector_norm((coefficients * spread.scale).flatten(1), order, 1)
    away = _over(coefficients.abs(), spread.slack)
    least: Tensor = _over(coefficients, spread.centre) - spread.eps * (1 + 1e-9) * reach - away
    return least


def propagate(subject: Subject, region: Region) -> Propagated:
    """Bounds of every value of a subject's program.

    Raises:
        UnknownCallError: a call through which none are known.
    """
    known: dict[fx.Node, Any] = {}
    bounds: dict[fx.Node, Bounds] = {}
    calls: dict[fx.Node, Call] = {}
    arguments = iter((_input(region), *subject.others))
    program = subject.program
    source = output = None
    for node in program.graph.nodes:
        if node.op == "placeholder":
            value = next(arguments)
            if isinstance(value, Bounds):
                source, bounds[node] = node, value
        elif node.op == "get_attr":
            value = getattr(program, str(node.target))
            if not isinstance(value, Tensor):
                raise UnknownCallError("a branch or loop that the input decides")
        elif node.op == "output":
            output = node.args[0][0]
            continue
        else:
            name = name_of(node.target)
            args = fx.node.map_arg(node.args, known.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, known.__getitem__)
            method = node.op == "call_method"
            run = getattr(Tensor, str(node.target)) if method else node.target
            call = Call(name or str(node.target), run, tuple(args), dict(kwargs))
            if not call.given:
                value = run(*args, **kwargs)
            elif name is None:
                raise UnknownCallError(str(node.target))
            else:
                value = bounds_of(call, subject.roundoff)
                bounds[node], calls[node] = value, call
        known[node] = value
    if source is None or not isinstance(output, fx.Node) or output not in bounds:
        raise UnknownCallError("an output that does not depend on the input")
    return Propagated(bounds, calls, output, source)


def _input(region: Region) -> Bounds:
    spread = None
    if region.centre is not None and region.scale is not None:
        spread = Spread(region.centre, region.scale, region.slack, region.norm, region.eps)
    return Bounds(region.low, region.high, region.slack, spread)
