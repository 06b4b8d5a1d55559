"""How smooth a backward is. Needs nothing: profiles are read with it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["POOL", "WIDTH", "Smooth"]

WIDTH = 0.2
"""Of the smooth function, where nothing else is said."""
POOL = 0.2
"""The average's share in a maximum's gradient, where nothing else is said."""


@dataclass(frozen=True)
class Smooth:
    """A smooth backward.

    Args:
        width: of the function in an operator's place, as a share of the standard deviation of the operator's input over
            a sample's features; above 0.
        pool: which share of a maximum pooling's gradient all values of the window get alike; 0: none, 1: all of it.
        nodes: names of the only nodes of an ONNX graph whose backward is smooth; None: all.
    """

    width: float = WIDTH
    pool: float = POOL
    nodes: frozenset[str] | None = None
