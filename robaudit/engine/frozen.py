"""A random file whose draws are held still: what its robustness is worth without chance."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.engine.instead import InsteadOf
from robaudit.engine.models import AuditedFile

__all__ = ["FrozenFile"]


class FrozenFile(InsteadOf):
    """A file that answers every input with the same draws, by the model that is differentiated.

    Args:
        file: random. Inputs are asked one at a time, since what a row draws depends on its place.
        seed: of torch's generator at each answer.
    """

    def __init__(self, file: AuditedFile, seed: int = 0) -> None:
        super().__init__(file)
        self._seed = seed

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        return torch.cat([self._alone(u[i : i + 1]) for i in range(len(u))])

    def _alone(self, u: Tensor) -> Tensor:
        devices = [u.device] if u.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self._seed)
            return self._file.logits(u)
