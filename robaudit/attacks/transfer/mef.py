"""Maximin expected flatness on surrogates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.transfer.on_surrogates import AroundPoint, Sampled, in_ball, spread_out
from robaudit.attacks.whitebox.mi_fgsm import accumulated
from robaudit.threat.losses import LossName
from robaudit.threat.norms import per_slot

__all__ = ["TransferMEF"]


@dataclass
class Recalled(Sampled):
    """With what is recalled of the gradients at each of the points.

    Args:
        last: [S, neighbours, *shape].
    """

    last: Tensor


@attack_parameters
class TransferMEF(AroundPoint[Recalled]):
    """Momentum steps along the mean gradient of points around, each shifted by its own gradients before.

    It looks for places where the loss stays high all around. Each point is a random one of a wide ball; it is shifted
    further by the gradient that its namesake had in the step before, less that of earlier ones, in place of a second
    gradient at the point itself. Source: Qiu, Kuang, Wang 2024, "Boosting Adversarial Transferability with Low-Cost
    Optimization via Maximin Expected Flatness", arXiv 2405.16181, algorithm 1; numbers, and the direction of the
    shift, as in the implementation in TransferAttack. Points are cut off at the box. Cost: ``steps`` ``neighbours``
    forwards and backwards of the surrogates and one label query of the target, which sees the last iterate alone.

    Args:
        steps: iterations.
        neighbours: points around each iterate.
        radius: that they lie in, as a multiple of ε.
        shift: length of the further shift, as a multiple of ε.
        recall: what is taken off of what was recalled before.
        decay: of the accumulated gradient.
        step_size: length of a step as a multiple of ε; null: 1 / steps.
        loss: maximised; see ``robaudit.threat.losses``.
    """

    id = "transfer-mef"

    steps: Count = 20
    neighbours: Count = 20
    radius: Positive = 2.0
    shift: Positive = 0.15
    recall: Positive = 0.9
    decay: Positive = 0.5
    step_size: Positive | None = 0.1
    loss: LossName = "ce"

    @property
    def at_once(self) -> int:
        return self.neighbours

    def most(self, task: Task) -> Cost:
        return Cost(self.steps * self.neighbours, self.steps * self.neighbours, 1)

    def init(self, problem: Problem) -> Recalled:
        none, zero = torch.zeros_like(problem.x), problem.full(0).long()
        last = problem.x.new_zeros(len(problem), self.neighbours, *problem.shape)
        return Recalled(problem.x, zero, none, zero, none, last)

    def wanted(self, state: Recalled) -> Tensor:
        return torch.full_like(state.step, self.neighbours)

    def points(self, problem: Problem, state: Recalled, number: Tensor) -> Tensor:
        wide = in_ball(problem, self.radius * problem.eps, state.step[:, None] * self.neighbours + number)
        further = self._named(state.last, number) * per_slot(self.shift * problem.eps, problem.x)[:, None]
        return problem.clip(state.point[:, None] + wide + further)

    def noted(self, problem: Problem, state: Recalled, number: Tensor, gradient: Tensor) -> Recalled:
        size = gradient.flatten(2).abs().sum(2).clamp_min(1e-38)
        scale = (spread_out(problem)[:, None] / size).reshape(*number.shape, *[1] * len(problem.shape))
        known = gradient * scale - self.recall * self._named(state.last, number)
        last = state.last.clone()
        place = number.clamp_max(self.neighbours - 1)
        inside = number < self.neighbours
        slot = torch.arange(len(number), device=number.device)[:, None].expand_as(number)
        last[slot[inside], place[inside]] = known[inside]
        total = state.total + gradient.sum(1)
        return Recalled(state.point, state.step, state.momentum, state.asked, total, last)

    def stepped(self, problem: Problem, state: Recalled) -> Recalled:
        momentum = accumulated(state.momentum, state.total, self.decay)
        point = self.moved(problem, state, momentum)
        return Recalled(point, state.step, momentum, state.asked, state.total, state.last)

    def _named(self, last: Tensor, number: Tensor) -> Tensor:
        """[S, P, *shape] what is recalled of the points with these numbers."""
        place = number.clamp_max(self.neighbours - 1)
        return last.gather(1, place.reshape(*number.shape, *[1] * (last.dim() - 2)).expand(-1, -1, *last.shape[2:]))
