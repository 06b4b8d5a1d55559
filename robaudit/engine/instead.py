"""A file that stands in another one's place, and answers by a model that is differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from robaudit.engine.models import AuditedFile
from robaudit.target.head.scores import Kind

__all__ = ["InsteadOf"]


class InsteadOf(ABC):
    """An :class:`AuditedFile` whose searches and judge ask the same differentiable model; inputs are those of a file.

    Args:
        file: in whose place it stands, for what its inputs can hold.
        classes: of the model; None: those of the file.
    """

    score_kind: Kind = "logits"
    repeats_itself = True

    def __init__(self, file: AuditedFile, classes: int | None = None) -> None:
        self.num_classes = file.num_classes if classes is None else classes
        self.device, self.dtype, self.whole = file.device, file.dtype, file.whole
        self._file = file

    @abstractmethod
    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """The same without a gradient; ``alone``: one input a run."""
        with torch.no_grad():
            return torch.cat([self.logits(u[i : i + 1]) for i in range(len(u))]) if alone else self.logits(u)

    def answered(self, u: Tensor) -> Tensor:
        """The scores."""
        return self.scores(u)

    def as_input(self, u: Tensor) -> Tensor:
        """What tells points apart; see :class:`AuditedFile`."""
        return self._file.as_input(u)

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        return self._file.snap(u, origin)
