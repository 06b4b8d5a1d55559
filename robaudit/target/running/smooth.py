"""How wide a smooth backward is, where nothing else is said. Needs nothing: profiles are read with it."""

from __future__ import annotations

__all__ = ["WIDTH"]

WIDTH = 0.2
"""Of the smooth function, as a share of the standard deviation of the operator's input over a sample's features."""
