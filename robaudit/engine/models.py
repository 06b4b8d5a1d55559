"""What the engine needs of the file under audit, so that it can be given any model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robaudit.target.head.scores import Kind
from robaudit.target.running.attributed import Differentiable

__all__ = ["AuditedFile", "Differentiable", "Ensemble"]


class AuditedFile(Differentiable, Protocol):
    """The file under audit."""

    @property
    def num_classes(self) -> int:
        """K."""
        ...

    @property
    def device(self) -> torch.device:
        """That tensors live on."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of samples in u-space."""
        ...

    @property
    def score_kind(self) -> Kind:
        """What its scores are."""
        ...

    @property
    def repeats_itself(self) -> bool:
        """Whether the same input has the same answer each time, as far as is known."""
        ...

    @property
    def whole(self) -> bool:
        """Whether some features hold whole numbers alone."""
        ...

    def as_input(self, u: Tensor) -> Tensor:
        """[N, ...] what tells points [N, *shape] apart: points with the same are one input to the file."""
        ...

    def answered(self, u: Tensor) -> Tensor:
        """The clean answers [N, K] that attacks start from: scores, or what ranks the classes of a label."""
        ...

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
