"""No defense."""

from __future__ import annotations

from torch import nn

from .entry import Entry, Making
from .training import plain, small

__all__ = ["NETS", "UNDEFENDED"]


def make(making: Making) -> nn.Module:
    return plain(making, small())


UNDEFENDED = Entry(
    name="undefended",
    defense="none",
    source="none: a plain convolutional net",
    claim="none",
    verdict="falls; no check fails",
    make=make,
    twin="",
)
NETS = (UNDEFENDED,)
