"""A file whose gradient passes smooth stand-ins of some of its operators alone: to find out which of them hide it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from robaudit.engine.instead import InsteadOf
from robaudit.engine.models import AuditedFile
from robaudit.target.running.smooth import Smooth

__all__ = ["PartlySmoothFile", "SmoothInParts"]


class SmoothInParts(AuditedFile, Protocol):
    """A file whose backward can be made smooth node by node."""

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        """As ``logits``, with a smooth backward."""
        ...


class PartlySmoothFile(InsteadOf):
    """A file that differs from another of its kind in the backward alone.

    Args:
        file: whose gradient is changed.
        smooth: the backward, and the nodes that have it; of no nodes: the true gradient.
    """

    def __init__(self, file: SmoothInParts, smooth: Smooth) -> None:
        super().__init__(file)
        self._parts, self._smooth = file, smooth

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        true = self._smooth.nodes == frozenset()
        return self._parts.logits(u) if true else self._parts.smoothly(u, self._smooth)
