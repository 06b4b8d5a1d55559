"""NAttack: a distribution of perturbations that is moved to where they fool."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.coarse import coarse_shape, enlarged
from robaudit.attacks.score.objective import Portions, ScoreLoss, objective, projected, start_value
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["NAttack"]

_START = 1e-3
"""Standard deviation of the first mean."""
_SHRINK = 1 - 1e-6
"""Keeps atanh finite at the box's ends."""

_LEAST = 1e-7
"""Deviation, as a share of the mean objective, that is more than rounding."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        mean: [S, *coarse shape] of the distribution.
        noise: [S, *coarse shape] sum of this step's draws so far; ``weighted`` the same, each times its objective.
        first, second: [S] float64 sums of the objective, less the sample's own, and of its square; ``count`` [S] of how
            many draws.
        part: [S] requests of this step so far; ``draw`` numbers all of them.
    """

    mean: Tensor
    noise: Tensor
    weighted: Tensor
    first: Tensor
    second: Tensor
    count: Tensor
    part: Tensor
    draw: Tensor


@attack_parameters
class NAttack(SlotAttack[State]):
    """Learn the mean of a normal distribution whose draws, in the ball, fool the model.

    A draw is enlarged to the image's size, added to the sample in tanh variables, and brought back into the ball. The
    mean follows the draws weighted by their standardised objectives.

    Source: Li, Li, Wang, Zhang, Gong 2019, "NATTACK: Learning the Distributions of Adversarial Examples for an Improved
    Black-Box Attack on Deep Neural Networks", algorithm 1 with its change of variables; population, deviation, coarse
    image and rate are those of its authors' code against most defenses, whose rates are 0.008 or 0.02. The mean begins
    near the sample, not at a prediction of a regression network. L∞ and L2; untargeted and targeted. Cost: up to
    ``queries`` queries of the scores, ``population`` a step.

    Args:
        queries: most queries a sample.
        population: draws of a step.
        sigma: their standard deviation, in tanh variables.
        rate: of the mean's steps.
        side: of the coarse image that is drawn, in pixels.
        loss: that is climbed.
    """

    id = "nattack"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    several = True

    queries: Count = 20_000
    population: Count = 300
    sigma: Positive = 0.1
    rate: Positive = 0.02
    side: Count = 32
    loss: ScoreLoss = "margin"

    def init(self, problem: Problem) -> State:
        """A mean near the sample."""
        shape = coarse_shape(problem.shape, self.side)
        mean = problem.draws.normal("mean", 0, shape).to(problem.x.dtype) * _START
        zero = problem.full(0).long()
        none = torch.zeros_like(mean)
        return State(mean, none, none, zero.double(), zero.double(), zero, zero, zero)

    def _portions(self, problem: Problem) -> Portions:
        return Portions(self.population, problem.max_points)

    def _draws(self, problem: Problem, state: State) -> Tensor:
        """[S, P, *coarse shape] standard normal."""
        shape = (self._portions(problem).size, *state.mean.shape[1:])
        return problem.draws.normal("draw", state.draw, shape).to(state.mean.dtype)

    def query(self, problem: Problem, state: State) -> Request:
        coarse = state.mean[:, None] + self.sigma * self._draws(problem, state)
        shift = enlarged(coarse.flatten(0, 1), problem.shape, "bilinear").reshape(-1, coarse.shape[1], *problem.shape)
        free = torch.atanh((2 * problem.x - 1) * _SHRINK)[:, None]
        points = projected(problem, (torch.tanh(free + shift) + 1) / 2)
        return Scores(points, rows=self._portions(problem).rows(state.part))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Add the draws up; with all of them, move the mean."""
        assert answer.logits is not None
        value = objective(self.loss, problem, answer.logits) - start_value(self.loss, problem)[:, None]
        asked, draws = answer.answered, self._draws(problem, state)
        value = torch.where(asked, value, 0.0)
        weights = torch.stack([asked.to(draws.dtype), value.to(draws.dtype)], 1)
        sums = torch.bmm(weights, draws.flatten(2)).reshape(-1, 2, *state.mean.shape[1:])
        noise, weighted = state.noise + sums[:, 0], state.weighted + sums[:, 1]
        first, second = state.first + value.sum(1), state.second + value.square().sum(1)
        count, part = state.count + asked.sum(1), state.part + 1
        ready = part >= self._portions(problem).requests
        average = first / count.clamp_min(1)
        deviation = (second / count.clamp_min(1) - average.square()).clamp_min(0).sqrt()
        excess = weighted - noise * per_slot(average, noise).to(noise.dtype)
        told = deviation > _LEAST * average.abs()
        scale = torch.where(told, self.rate / (self.population * self.sigma) / deviation, 0.0)
        moved = state.mean + excess * per_slot(scale, excess).to(excess.dtype)
        none = torch.zeros_like(noise)
        return State(
            mean=select(ready, moved, state.mean),
            noise=select(ready, none, noise),
            weighted=select(ready, none, weighted),
            first=torch.where(ready, 0.0, first),
            second=torch.where(ready, 0.0, second),
            count=torch.where(ready, 0, count),
            part=torch.where(ready, 0, part),
            draw=state.draw + 1,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)
