"""A random file whose draws are held still: what its robustness is worth without chance."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.engine.models import AuditedFile
from robaudit.target.head.scores import Kind

__all__ = ["FrozenFile"]


class FrozenFile:
    """An :class:`AuditedFile` that answers every input with the same draws, by the model that is differentiated.

    Args:
        file: random. Inputs are asked one at a time, since what a row draws depends on its place.
        seed: of torch's generator at each answer.
    """

    score_kind: Kind = "logits"
    repeats_itself = True

    def __init__(self, file: AuditedFile, seed: int = 0) -> None:
        self.num_classes = file.num_classes
        self.device, self.dtype, self.whole = file.device, file.dtype, file.whole
        self._file, self._seed = file, seed

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        return torch.cat([self._alone(u[i : i + 1]) for i in range(len(u))])

    def _alone(self, u: Tensor) -> Tensor:
        devices = [u.device] if u.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self._seed)
            return self._file.logits(u)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """The same without a gradient."""
        with torch.no_grad():
            return self.logits(u)

    def answered(self, u: Tensor) -> Tensor:
        """The scores."""
        return self.scores(u)

    def as_input(self, u: Tensor) -> Tensor:
        """What tells points apart; see :class:`AuditedFile`."""
        return self._file.as_input(u)

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        return self._file.snap(u, origin)
