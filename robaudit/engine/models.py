"""What the engine needs of the file under audit, so that it can be given any model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robaudit.attacks.requests import Fusion
from robaudit.target.head.scores import Kind
from robaudit.target.running.attributed import Differentiable
from robaudit.target.running.smooth import Smooth

__all__ = ["AuditedFile", "Differentiable", "Drawn", "Ensemble", "Smoothed", "Smoothing"]


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


@runtime_checkable
class Drawn(Protocol):
    """A file that may be random: then it is judged on many draws."""

    @property
    def is_random(self) -> bool:
        """Whether it answers by chance."""
        ...

    def draws(self, u: Tensor, numbers: range) -> Tensor:
        """[N, *shape] in u-space to [N, M, K] scores of the draws of these numbers, each input alone."""
        ...


@runtime_checkable
class Smoothing(Protocol):
    """A file whose gradient can be taken by a smooth backward, or not."""

    @property
    def unsmooth(self) -> str | None:
        """Why it cannot, as a clause; None: it can."""
        ...

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        """As ``logits``, with a smooth backward."""
        ...


@dataclass(frozen=True)
class Smoothed:
    """A file as a model whose gradient is taken by a smooth backward."""

    file: Smoothing
    smooth: Smooth

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        return self.file.smoothly(u, self.smooth)


@dataclass(frozen=True)
class Ensemble:
    """Several surrogates as one model (Dong et al. 2018, "Boosting Adversarial Attacks with Momentum").

    Args:
        members: the surrogates.
        fusion: what is averaged. With losses, :meth:`logits` are the mean logits, and whoever takes a gradient averages
            the losses of :meth:`several`.
    """

    members: tuple[Differentiable, ...]
    fusion: Fusion = "logits"

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable: mean logits, or logarithms of mean probabilities."""
        found = self.several(u)
        if self.fusion == "predictions":  # in logarithms, as a small probability underflows
            return found.log_softmax(2).logsumexp(0) - math.log(len(self.members))
        return found.mean(0)

    def several(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [M, N, K] logits of each member, differentiable."""
        return torch.stack([member.logits(u) for member in self.members])

    def mapped(self, change: Callable[[Differentiable], Differentiable]) -> Ensemble:
        """The same with each member changed."""
        return replace(self, members=tuple(map(change, self.members)))
