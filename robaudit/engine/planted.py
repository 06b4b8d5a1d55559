"""A model of two classes on a file's own features, in which an adversarial example is known to exist."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.engine.models import AuditedFile
from robaudit.target.head.scores import Kind

__all__ = ["PlantedFile"]


class PlantedFile:
    """An :class:`AuditedFile` of the classes 0, clean, and 1, planted: the last layer is replaced, sample by sample.

    Which sample's head answers an input is decided by the nearest original, so that one batch may hold all of them.
    Searches and judge ask the same differentiable model: what is tried is the search, not the twin.

    Args:
        file: under audit, for what its inputs can hold.
        features: [N, *shape] in u-space to [N, F], differentiable.
        origins: [S, *shape] the samples.
        weights: [S, F] float64 of their heads; ``biases``: [S]. Above 0 is class 1.
        biases: of the heads.
    """

    num_classes = 2
    score_kind: Kind = "logits"
    repeats_itself = True

    def __init__(
        self,
        file: AuditedFile,
        features: Callable[[Tensor], Tensor],
        origins: Tensor,
        weights: Tensor,
        biases: Tensor,
    ) -> None:
        self.device, self.dtype, self.whole = file.device, file.dtype, file.whole
        self._file, self._features = file, features
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
