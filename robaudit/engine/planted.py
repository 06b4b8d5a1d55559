"""A model of two classes on a file's own features, in which an adversarial example is known to exist."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.engine.instead import InsteadOf
from robaudit.engine.models import AuditedFile

__all__ = ["PlantedFile"]


class PlantedFile(InsteadOf):
    """A file of the classes 0, clean, and 1, planted: the last layer is replaced, sample by sample.

    Which sample's head answers an input is decided by the nearest original, so that one batch may hold all of them.
    Searches and judge ask the same differentiable model: what is tried is the search, not the twin.

    Args:
        file: under audit, for what its inputs can hold.
        features: [N, *shape] in u-space to [N, F], differentiable.
        origins: [S, *shape] the samples.
        weights: [S, F] float64 of their heads; ``biases``: [S]. Above 0 is class 1.
        biases: of the heads.
    """

    def __init__(
        self,
        file: AuditedFile,
        features: Callable[[Tensor], Tensor],
        origins: Tensor,
        weights: Tensor,
        biases: Tensor,
    ) -> None:
        super().__init__(file, classes=2)
        self._features = features
        self._origins = origins.flatten(1).double()
        self._sizes = self._origins.square().sum(1)
        self._weights, self._biases = weights, biases

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, 2], differentiable."""
        with torch.no_grad():
            flat = u.detach().flatten(1).double()
            head = (self._sizes - 2 * flat @ self._origins.T).argmin(1)
        found = (self._features(u).double() * self._weights[head]).sum(1) + self._biases[head]
        return torch.stack([-found / 2, found / 2], 1).to(self.dtype)
