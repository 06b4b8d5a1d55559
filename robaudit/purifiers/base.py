"""The contract of a recipe: a file, made of clean images, that a defense shows the model images through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Lessons", "PurifierRecipe", "Schedule"]

TINY = 1e-12
"""Below which a gradient has no direction."""


@dataclass(frozen=True)
class Lessons:
    """What a purifier is made of.

    Args:
        images: [N, C, H, W] clean images in u-space, float32.
        logits: of the model that is to be defended: [N, C, H, W] to [N, K], with a gradient; None where it has none.
        norm: of the perturbations that are to be removed: linf or l2.
        eps: their radius, as a fraction of the domain's width.
        seed: of all random numbers.
    """

    images: Tensor
    logits: Callable[[Tensor], Tensor] | None
    norm: str
    eps: float
    seed: int

    def disturbed(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Images [N, C, H, W] with perturbations of radii drawn uniformly from 0 to ``eps``: one step against the
        model's own answer, or along a random sign where it has no gradient.

        Source of the step: Goodfellow, Shlens, Szegedy 2015, "Explaining and Harnessing Adversarial Examples", for L∞;
        for L2 the gradient has length 1.
        """
        size = self.eps * torch.rand((len(clean), 1, 1, 1), generator=generator).to(clean)
        slope = torch.randn(clean.shape, generator=generator).to(clean) if self.logits is None else self._slope(clean)
        if self.norm == "linf":
            step = slope.sign()
        else:
            step = slope / slope.flatten(1).norm(dim=1).clamp_min(TINY)[:, None, None, None]
        return (clean + size * step).clamp(0, 1)

    def _slope(self, clean: Tensor) -> Tensor:
        assert self.logits is not None
        u = clean.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.logits(u)
            loss = F.cross_entropy(logits.float(), logits.argmax(1), reduction="sum")
            (slope,) = torch.autograd.grad(loss, u)
        return slope.nan_to_num(0.0, 0.0, 0.0)


@dataclass
class Schedule:
    """Told by a recipe how far it is; says whether to go on.

    Args:
        go_on: whether there is time for another step.
        told: of rounds that are done, of how many, and of the loss of the last.
        done: rounds carried out, ``rounds`` of them planned.
    """

    go_on: Callable[[], bool] = lambda: True
    told: Callable[[int, int, float], None] = lambda _done, _of, _loss: None
    done: int = 0
    rounds: int = 0

    def finished(self, loss: float) -> None:
        """Another round is done."""
        self.done += 1
        self.told(self.done, self.rounds, loss)


class PurifierRecipe(ABC):
    """How a purifier is made. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    Class attributes:
        id: name in settings.
        defense: id of the defense that takes the file.
        suffix: of the file.
        needs_gradient: it cannot do without the model's gradient.
    """

    id: ClassVar[str]
    defense: ClassVar[str] = "purifier"
    suffix: ClassVar[str] = ".onnx"
    needs_gradient: ClassVar[bool] = False

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        """Why it cannot be made for images [C, H, W], as a clause, or None."""
        return None

    @abstractmethod
    def make(self, lessons: Lessons, schedule: Schedule) -> bytes:
        """The file; a pure function of the lessons, and of how many rounds there was time for.

        Raises:
            AuditError: there was no time for one.
        """
