"""The table of operators: who translates which, looked up by domain and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

SMOOTH = "smooth"
"""Attribute of a node whose backward is smooth: how smooth it is (see smoothing.py)."""
Value = Any
"""A tensor, a sequence (a list of tensors), or None: an input that is absent, an empty optional."""
Result = Tensor | list[Tensor] | tuple[Any, ...]
Handler = Callable[..., Result]


@dataclass(frozen=True)
class Operator:
    """How one operator runs on tensors.

    ``host`` lists the inputs whose *values* shape the result (a Reshape's target, a Slice's bounds): they
    must be known when the graph is traced, and never come from the accelerator. ``flat`` lists the outputs
    that are piecewise constant (a label, a tree's leaf): they have values and no gradient. ``backward`` lists
    what may stand for a derivative that is zero, the default first (see straight_through.py).
    """

    run: Handler
    host: frozenset[int]
    flat: frozenset[int] = frozenset()
    backward: tuple[str, ...] = ()


_TABLE: dict[tuple[str, str], Operator] = {}


def operator(
    *names: str,
    domain: str = "",
    host: tuple[int, ...] = (),
    flat: tuple[int, ...] = (),
    backward: tuple[str, ...] = (),
) -> Callable[[Handler], Handler]:
    """Register a handler ``(node, *inputs) -> outputs``; an absent optional input is None."""

    def register(handler: Handler) -> Handler:
        for name in names:
            _TABLE[domain, name] = Operator(handler, frozenset(host), frozenset(flat), backward)
        return handler

    return register


def find(domain: str, name: str) -> Operator | None:
    """Return the operator, or None when nobody translates it."""
    return _TABLE.get((domain, name))


def registered() -> list[tuple[str, str]]:
    """(domain, name) of every operator that has a translation."""
    return sorted(_TABLE)
