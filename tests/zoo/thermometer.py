"""Thermometer encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .entry import Entry, Making
from .training import plain, small

__all__ = ["NETS"]


class Thermometer(nn.Module):
    """[N, 1, H, W] pixels to [N, L, H, W]: is the pixel above k / L?"""

    def __init__(self, levels: int = 16) -> None:
        super().__init__()
        self.register_buffer("marks", (torch.arange(levels) / levels).view(1, levels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.marks).to(x.dtype)


def make(making: Making) -> nn.Module:
    net = small(channels=16)
    return plain(making, nn.Sequential(Thermometer(16), *net.children()))


NETS = (
    Entry(
        name="thermometer",
        defense="thermometer encoding",
        source="Buckman, Roy, Raffel, Goodfellow 2018, Thermometer Encoding: One Hot Way To Resist Adversarial "
        "Examples",
        claim="a discrete input raises accuracy under white-box attacks",
        verdict="BPDA breaks it",
        make=make,
        masked=True,
        hides=("Greater", "Cast"),
        layer="the comparison of the pixels with the levels",
    ),
)
