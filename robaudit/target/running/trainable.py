"""What a model that can be trained anew is made of, whatever its file's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["BIAS", "GAIN", "SLOPE", "TOKEN", "Learner", "Normal", "State", "Untrainable", "Weight", "matrix"]

State = Mapping[str, Tensor]
"""Weights and statistics of normalisations, by name."""
Normal = Callable[[str, tuple[int, ...]], Tensor]
"""Standard normal numbers [*shape] for a name, the same each time."""


class Untrainable(Exception):  # noqa: N818
    """A model has no copy that can be trained; the text says why, as the end of a sentence."""


@dataclass(frozen=True)
class Weight:
    """One tensor that training sets.

    Args:
        name: in the state.
        shape: of the tensor.
        centre: mean of its first values.
        spread: their standard deviation.
        decays: whether weight decay is usual for it: matrices and filters.
    """

    name: str
    shape: tuple[int, ...]
    centre: float = 0.0
    spread: float = 0.0
    decays: bool = False

    def first(self, normal: Normal) -> Tensor:
        """[*shape] its value before training."""
        if self.spread == 0:
            return torch.full(self.shape, self.centre)
        return normal(self.name, self.shape) * self.spread + self.centre


BIAS = (0.0, 0.0)
GAIN = (1.0, 0.0)
SLOPE = (0.25, 0.0)
TOKEN = (0.0, 0.02)
"""(centre, spread) of what is added, multiplied, the slope of a leaky rectifier (He et al. 2015, arXiv:1502.01852,
section 2.1), a class token or place (Dosovitskiy et al. 2021, arXiv:2010.11929, as published models are made)."""


def matrix(fan_in: float) -> tuple[float, float]:
    """(centre, spread) of a matrix or filter whose every output adds so many products.

    A third of the variance of LeCun et al. 1998, "Efficient BackProp", eq. 16: smaller than what keeps the variance of
    rectified layers (He et al. 2015, eq. 10). Of few layers, such networks come to functions nearer to the target's.
    """
    return 0.0, (1.0 / (3.0 * max(fan_in, 1.0))) ** 0.5


class Learner(Protocol):
    """A model as a function of its weights; x has the file's layout and units."""

    @property
    def weights(self) -> Sequence[Weight]:
        """What training sets, in the order of the graph."""
        ...

    @property
    def statistics(self) -> State:
        """Means and variances of normalisations before any data were seen: what no gradient sets."""
        ...

    @property
    def watches_batches(self) -> bool:
        """Whether normalisations look at the batch in training; else their statistics stay as the first data set
        them."""
        ...

    def answer(self, state: State, x: Tensor) -> Tensor:
        """[N, ...] to [N, ...], each input's answer independent of the others."""
        ...

    def lesson(self, state: State, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The answers in training, and the statistics of these inputs (population variance); none where it does not
        watch batches."""
        ...

    def scaled(self, state: State, x: Tensor) -> dict[str, Tensor]:
        """The state, its statistics those of x; of a deep network, every layer's output on x has variance 1."""
        ...
