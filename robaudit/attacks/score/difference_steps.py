"""Steps along a gradient that two-sided differences estimate, one along each of a few directions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import ScoreLoss, differences, inside, objective
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["DifferenceSteps", "Stepping"]


@dataclass
class Stepping(Slots):
    """One slot's search.

    Args:
        point: [S, *shape] where the gradient is estimated; ``gradient`` [S, *shape] as far as it is known.
        part: [S] requests of this step so far; ``step`` [S] steps so far.
    """

    point: Tensor
    gradient: Tensor
    part: Tensor
    step: Tensor


SteppingT = TypeVar("SteppingT", bound=Stepping)


class DifferenceSteps(SlotAttack[SteppingT]):
    """Along the sign of the estimate in L-infinity, along itself in L2; after ``steps`` steps shorter ones follow."""

    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    several = True

    steps: int
    step_size: float
    loss: ScoreLoss

    @abstractmethod
    def most_directions(self, problem: Problem) -> int:
        """In a step."""

    @abstractmethod
    def directions(self, problem: Problem, state: SteppingT) -> Tensor:
        """[S] int64 how many there are in this step."""

    @abstractmethod
    def shifts(self, problem: Problem, state: SteppingT, number: Tensor) -> Tensor:
        """[S, N, *shape] moves along the directions of these numbers [S, N]; those beyond the last are not asked."""

    def renewed(self, problem: Problem, state: SteppingT, mask: Tensor) -> SteppingT:
        """With the directions of a new step where the mask [S] is set."""
        return state

    def _size(self, problem: Problem) -> int:
        """Directions in a request; the point itself is asked about too."""
        return min(max(problem.max_points - 1, 2) // 2, self.most_directions(problem))

    def query(self, problem: Problem, state: SteppingT) -> Request:
        """The point itself once a step, then the moves one way, then the other."""
        size = self._size(problem)
        number = state.part[:, None] * size + torch.arange(size, device=state.part.device)
        shift, here = self.shifts(problem, state, number), state.point[:, None]
        probes = problem.clip(torch.cat([here + shift, here - shift], 1))
        asked = number < self.directions(problem, state)[:, None]
        points = torch.cat([here, probes], 1)
        rows = torch.cat([(state.part == 0)[:, None], asked, asked], 1)
        return Scores(points, rows=rows, candidates=inside(problem, points))

    def update(self, problem: Problem, state: SteppingT, answer: Answer) -> SteppingT:
        """Each direction's difference; with all of them, a step."""
        assert answer.logits is not None
        size = self._size(problem)
        value = objective(self.loss, problem, answer.logits[:, 1:])
        gradient = state.gradient + differences(answer.points[:, 1:], value, answer.answered[:, 1:])
        part = state.part + 1
        ready = part * size >= self.directions(problem, state)
        share = self.step_size * torch.minimum(self.steps / (state.step + 1), torch.ones_like(problem.eps))
        length = (share * problem.eps).to(gradient.dtype)
        stepped = problem.project(state.point + normalise(problem.norm, gradient) * per_slot(length, gradient))
        after = replace(
            state,
            point=select(ready, stepped, state.point),
            gradient=select(ready, torch.zeros_like(gradient), gradient),
            part=torch.where(ready, 0, part),
            step=state.step + ready.long(),
        )
        return self.renewed(problem, after, ready) if bool(ready.any()) else after

    def done(self, problem: Problem, state: SteppingT) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)
