"""A file whose gradient passes smooth stand-ins of some of its operators alone: to find out which of them hide it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from robaudit.engine.models import AuditedFile
from robaudit.target.head.scores import Kind
from robaudit.target.running.smooth import Smooth

__all__ = ["PartlySmoothFile", "SmoothInParts"]


class SmoothInParts(AuditedFile, Protocol):
    """A file whose backward can be made smooth node by node."""

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        """As ``logits``, with a smooth backward."""
        ...


class PartlySmoothFile:
    """An :class:`AuditedFile` that is another one, but for its gradient.

    It answers by the model that is differentiated, so that two of them differ in the backward alone.

    Args:
        file: whose gradient is changed.
        smooth: the backward, and the nodes that have it; of no nodes: the true gradient.
    """

    score_kind: Kind = "logits"
    repeats_itself = True

    def __init__(self, file: SmoothInParts, smooth: Smooth) -> None:
        self.num_classes = file.num_classes
        self.device, self.dtype, self.whole = file.device, file.dtype, file.whole
        self._file, self._smooth = file, smooth

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        true = self._smooth.nodes == frozenset()
        return self._file.logits(u) if true else self._file.smoothly(u, self._smooth)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """The same without a gradient; ``alone``: one input a run."""
        with torch.no_grad():
            return torch.cat([self._file.logits(u[i : i + 1]) for i in range(len(u))]) if alone else self.logits(u)

    def answered(self, u: Tensor) -> Tensor:
        """The scores."""
        return self.scores(u)

    def as_input(self, u: Tensor) -> Tensor:
        """What tells points apart; see :class:`AuditedFile`."""
        return self._file.as_input(u)

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        return self._file.snap(u, origin)
