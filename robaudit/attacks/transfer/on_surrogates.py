"""What attacks share that step along surrogates' gradients: all but how a gradient becomes a direction."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.gradient_step import GradientStep
from robaudit.attacks.requests import Answer, Gradient, ModelRef
from robaudit.attacks.whitebox.mi_fgsm import State
from robaudit.threat.losses import loss_named
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select
from robaudit.threat.random import Draws

__all__ = ["AroundPoint", "OnSurrogates", "Sampled", "in_ball", "spread_out"]


StateT = TypeVar("StateT", bound=State)


class OnSurrogates(GradientStep[StateT]):
    """Steps of one length along a momentum of gradients of the surrogates; the target sees the last point alone.

    A subclass has the parameters ``steps``, ``decay`` of the momentum, ``step_size`` as a multiple of ε, None: 1 /
    ``steps``, and ``loss``.
    """

    access = Access.TRANSFER
    model = ModelRef.SURROGATES
    stop = Stop.RUN_ON
    norms = frozenset({Norm.LINF, Norm.L2})
    steps: int
    decay: float
    step_size: float | None

    def steps_within(self, eps: Tensor) -> int:
        return self.steps

    def most(self, task: Task) -> Cost:
        """A gradient of the surrogates a step, and the one candidate that the target is shown."""
        return Cost(self.steps, self.steps, 1)

    def length(self, problem: Problem) -> Tensor:
        """[S] of a step."""
        return problem.eps / self.steps if self.step_size is None else problem.eps * self.step_size

    def moved(self, problem: Problem, state: State, momentum: Tensor) -> Tensor:
        """[S, *shape] points after a step along a momentum."""
        step = normalise(problem.norm, momentum) * per_slot(self.length(problem), momentum)
        return problem.project(state.point + step)

    def done(self, problem: Problem, state: StateT) -> Tensor:
        """After the last step, whose point the surrogates need not see."""
        return state.step >= self.steps

    def best(self, problem: Problem, state: StateT) -> tuple[Tensor, Tensor]:
        return state.point, torch.zeros_like(state.step, dtype=torch.bool)


@dataclass
class Sampled(State):
    """With what was asked of the present step.

    Args:
        asked: [S] int64 points.
        total: [S, *shape] sum of the gradients there.
    """

    asked: Tensor
    total: Tensor


SampledT = TypeVar("SampledT", bound=Sampled)


class AroundPoint(OnSurrogates[SampledT]):
    """Gradients at several numbered points around each iterate decide its step, over several requests if they must."""

    several = True

    @abstractmethod
    def wanted(self, state: SampledT) -> Tensor:
        """[S] int64 number of points of the present step."""

    @abstractmethod
    def points(self, problem: Problem, state: SampledT, number: Tensor) -> Tensor:
        """[S, P, *shape] the points with these numbers [S, P] of the present step."""

    @abstractmethod
    def noted(self, problem: Problem, state: SampledT, number: Tensor, gradient: Tensor) -> SampledT:
        """The state with gradients [S, P, *shape] at these points taken in; zero at those that are not wanted."""

    @abstractmethod
    def stepped(self, problem: Problem, state: SampledT) -> SampledT:
        """The state after the step, once all is known that it needs."""

    def _numbers(self, problem: Problem, state: SampledT) -> Tensor:
        """[S, P] numbers of the next points, as many as a request may hold."""
        size = min(self.at_once, problem.max_points)
        return state.asked[:, None] + torch.arange(size, device=state.asked.device)

    @property
    @abstractmethod
    def at_once(self) -> int:
        """Most points of a step."""

    def query(self, problem: Problem, state: SampledT) -> Gradient:
        number = self._numbers(problem, state)
        return Gradient(
            self.points(problem, state, number),
            number < self.wanted(state)[:, None],
            model=self.model,
            loss=loss_named(self.loss),
            target_class=self.target_class(problem),
        )

    def update(self, problem: Problem, state: SampledT, answer: Answer) -> SampledT:
        assert answer.gradient is not None
        number = self._numbers(problem, state)
        state = self.noted(problem, state, number, answer.gradient)
        state.asked = state.asked + number.shape[1]
        whole = state.asked >= self.wanted(state)
        after = self.stepped(problem, state)
        after.step, after.asked = state.step + 1, torch.zeros_like(state.asked)
        after.total = torch.zeros_like(state.total)
        return after if bool(whole.all()) else _chosen(whole, after, state)


def _chosen(mask: Tensor, yes: SampledT, no: SampledT) -> SampledT:
    """The slots of one state where the mask [S] is set, else those of another."""
    parts = {name: select(mask, value, getattr(no, name)) for name, value in vars(yes).items()}
    return type(yes)(**parts)


def in_ball(problem: Problem, radius: Tensor, number: Tensor) -> Tensor:
    """Keyed random shifts, uniform in the ball of the problem's norm.

    Args:
        problem: the slots, in L∞ or L2.
        radius: [S].
        number: [S, P] int64 of each draw.

    Returns:
        [S, P, *shape]; nothing is spent on what is fixed.
    """
    keys, flat = problem.keys.repeat_interleave(number.shape[1]), number.reshape(-1)
    draws, fixed = Draws(keys), problem.fixed
    if problem.norm is Norm.LINF:
        shift = draws.uniform("around", flat, problem.shape).to(problem.x.dtype) * 2 - 1
    else:
        shift = draws.normal("around", flat, problem.shape).to(problem.x.dtype)
    shift = shift.reshape(*number.shape, *problem.shape)
    if fixed is not None:
        shift = shift.masked_fill(fixed[:, None], 0.0)
    if problem.norm is not Norm.LINF:
        share = draws.uniform("distance", flat, (1,)).double()[:, 0].reshape(number.shape)
        share = share.pow(1 / _free(problem)[:, None].clamp_min(1)).to(shift.dtype)
        size = shift.flatten(2).norm(dim=2).clamp_min(1e-38)
        shift = shift * (share / size).reshape(*number.shape, *[1] * len(problem.shape))
    return shift * per_slot(radius, problem.x)[:, None]


def _free(problem: Problem) -> Tensor:
    """[S] float64 features that may change."""
    fixed = torch.zeros_like(problem.x, dtype=torch.bool) if problem.fixed is None else problem.fixed
    return (~fixed).flatten(1).sum(1).double()


def spread_out(problem: Problem) -> Tensor:
    """[S] what a direction of an L1 length of 1 is to be multiplied by to be as long as a step of length 1.

    If it is spread over all features that may change it then leads each of them by 1 in L∞, as the mean absolute value
    of a gradient is 1 in the authors' code, and all by a Euclidean length of 1 in L2.
    """
    free = _free(problem)
    return (free if problem.norm is Norm.LINF else free.sqrt()).to(problem.x.dtype)
