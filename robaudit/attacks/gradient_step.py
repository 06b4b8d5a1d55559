"""What attacks share that follow the gradient of a loss step by step: everything but the step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.requests import Gradient, ModelRef, Request
from robaudit.threat.losses import Loss, loss_named, loss_unsuited
from robaudit.threat.model import Access

__all__ = ["GradientStep", "Iterate"]


@dataclass
class Iterate(Slots):
    """Where each slot stands, and how many answers it has seen."""

    point: Tensor
    step: Tensor

    @classmethod
    def at(cls, point: Tensor) -> Self:
        """Slots that begin at points [S, *shape]."""
        return cls(point, torch.zeros(len(point), dtype=torch.int64, device=point.device))


IterateT = TypeVar("IterateT", bound=Iterate)


class GradientStep(SlotAttack[IterateT]):
    """Follows the gradient of a loss for a number of steps, and sees the last point too.

    A subclass has the parameter ``loss``, and says in :meth:`steps_within` how many steps there are, and in
    :meth:`update` how one is made; its state has the point and the step, and whatever else it needs.

    Class attributes:
        model: whose gradient it follows.
    """

    access = Access.WHITE_BOX
    model: ClassVar[ModelRef] = ModelRef.TARGET
    loss: str

    @abstractmethod
    def steps_within(self, eps: Tensor) -> Tensor | int:
        """Number of steps in balls of radii [S]; one for all, or [S]."""

    def target_class(self, problem: Problem) -> Tensor | None:
        """[S] int64 class that the loss aims at, -1: none; None: the problem's."""
        return None

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The loss that was chosen."""
        return {self.loss: loss_named(self.loss)}

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Some losses need more classes."""
        return loss_unsuited(self.loss, classes)

    def most(self, task: Task) -> Cost:
        """A gradient a step, and one of the last point, which is not used."""
        steps = self.steps_within(torch.tensor([task.eps], dtype=torch.float64))
        return Cost.gradients(int(steps) + 1)

    def query(self, problem: Problem, state: IterateT) -> Request:
        """The gradient where the slot stands."""
        return Gradient(
            state.point, model=self.model, loss=loss_named(self.loss), target_class=self.target_class(problem)
        )

    def done(self, problem: Problem, state: IterateT) -> Tensor:
        """After the last point was seen."""
        return state.step > self.steps_within(problem.eps)
