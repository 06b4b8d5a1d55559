"""What the zoo says of a net, and what a family's file gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from .data import Data

__all__ = ["Entry", "Making"]


@dataclass
class Making:
    """What a net is made with.

    Attributes:
        data: training and test images.
        seed: of all random numbers; a net's own draws depend on it and on the net's name alone.
        effort: factor on the numbers of epochs.
    """

    data: Data
    seed: int = 0
    effort: float = 1.0
    _made: dict[str, nn.Module] = field(default_factory=dict)

    def net(self, entry: Entry) -> nn.Module:
        """The net of an entry, in evaluation mode; trained once, for nets that begin with another."""
        if entry.name not in self._made:
            with torch.random.fork_rng(devices=[]):  # a net may begin with another, trained before it or now
                torch.manual_seed(1000 * self.seed + sum(entry.name.encode()))
                self._made[entry.name] = entry.make(self).eval()
        return self._made[entry.name]

    def epochs(self, number: int) -> int:
        """Epochs, at this effort."""
        return max(1, round(number * self.effort))


@dataclass(frozen=True)
class Entry:
    """One net of the zoo.

    Attributes:
        name: of its files.
        defense: in words.
        source: authors, year, title.
        claim: what the paper says that it does, in a phrase.
        verdict: what an audit must reach.
        make: trains it; returns a module from images in [0, 1] to logits.
        masked: its gradients are missing, vanish, or mislead.
        random: its answer to one input varies.
        twin: the net of the same architecture, or nearly so, without what hides or draws: undefended, or as it is
            adversarially trained; "" for the undefended one.
        hides: operators of the exported file that hide the gradient, any of which is right.
        layer: where they are, in words.
        head: what the exported file has behind the logits.
        eps: L-infinity radius of evaluations, as a fraction of the domain's width.
        version: raised when the net changes, so that it is trained again.
    """

    name: str
    defense: str
    source: str
    claim: str
    verdict: str
    make: Callable[[Making], nn.Module]
    masked: bool = False
    random: bool = False
    twin: str = "undefended"
    hides: tuple[str, ...] = ()
    layer: str = ""
    head: Literal["", "softmax"] = ""
    eps: float = 0.1
    norm: str = "linf"
    version: int = 1
