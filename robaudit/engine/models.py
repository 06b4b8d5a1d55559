"""What the engine needs of the file under audit, so that it can be given any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["AuditedFile", "Differentiable", "Ensemble", "StandIn"]


class Differentiable(Protocol):
    """A model with an input gradient: the target's torch twin, or a surrogate."""

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        ...


class AuditedFile(Differentiable, Protocol):
    """The file under audit."""

    num_classes: int
    device: torch.device
    dtype: torch.dtype

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """[N, *shape] in u-space to [N, K], by the shipped file; ``alone``: one input a run."""
        ...

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        ...


@dataclass(frozen=True)
class Ensemble:
    """The mean of several surrogates' logits (Dong 2018, eq. 9)."""

    members: tuple[Differentiable, ...]

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        return torch.stack([member.logits(u) for member in self.members]).mean(0)


@dataclass(frozen=True)
class StandIn:
    """The target's answers with another model's gradient: backward pass differentiable approximation.

    Source: Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.1.2.

    Args:
        answers: the target, [N, *shape] in u-space to [N, K]; it need not have a gradient.
        other: the differentiable model that stands in for it on the way back.
    """

    answers: Callable[[Tensor], Tensor]
    other: Differentiable

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K]: the target's values, the stand-in's gradient."""
        path = self.other.logits(u)
        with torch.no_grad():
            value = self.answers(u)
        return value.to(path) + (path - path.detach())
