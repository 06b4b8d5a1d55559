"""Bandits: a gradient estimate that is carried from step to step, and equal within tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.coarse import coarse_shape, enlarged
from robaudit.attacks.score.objective import ScoreLoss, inside, objective
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, distance, normalise, per_slot

__all__ = ["Bandits"]

_USUAL = {Norm.LINF: (0.1, 0.1, 1.0, 0.2), Norm.L2: (0.01, 0.2, 0.01, 0.1)}
"""Reach, prior_rate, exploration and step_size."""
_MOST = 1 - 1e-6
"""Keeps the odds of the prior finite."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        point: [S, *shape] where it is.
        prior: [S, *coarse shape] on the gradient there.
        slopes: [S] float64 sum of the squared slopes that the probes have shown.
        step: [S] steps so far.
    """

    point: Tensor
    prior: Tensor
    slopes: Tensor
    step: Tensor


@attack_parameters
class Bandits(SlotAttack[State]):
    """Ascend along a prior on the gradient, which two probes a step correct.

    The prior holds a number for each tile of the image, and is what earlier steps have learned. A probe goes in the
    direction of the prior plus or minus noise. L∞: the prior is updated by exponentiated gradients, and a step follows
    its sign; L2: by gradient ascent, and a step follows it. What two probes show is divided by what they usually show,
    which is ours: neither the image's size nor that of the logits decides how fast the prior learns.

    Source: Ilyas, Engstrom, Madry 2019, "Prior Convictions: Black-Box Adversarial Attacks with Bandits and Priors",
    algorithm 3 with priors of time and data; tiles, reach, exploration and steps as in its authors' code, whose ε is
    0.05 in L∞ and 5 in L2. Tiles serve C x H x W images. Untargeted and targeted. Cost: up to ``queries`` queries of
    the scores, three a step: the probes, and the point itself.

    Args:
        queries: most queries a sample.
        tiles: along each side of the image, at most.
        reach: L2 length of a probe; default 0.1 in L∞ and 0.01 in L2.
        prior_rate: how fast the prior learns: what a probe of usual slope adds to it, as a multiple of the noise (L2),
            or to the logarithm of its odds, as a multiple of a standard normal draw (L∞); default 0.2 and 0.1.
        exploration: length of the noise; default 1 in L∞ and 0.01 in L2.
        step_size: as a share of ε; default 0.2 in L∞ and 0.1 in L2.
        loss: that is climbed.
    """

    id = "bandits"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})

    queries: Count = 10_000
    tiles: Count = 50
    reach: Positive | None = None
    prior_rate: Positive | None = None
    exploration: Positive | None = None
    step_size: Positive | None = None
    loss: ScoreLoss = "ce"

    def init(self, problem: Problem) -> State:
        """Nothing is known of the gradient."""
        prior = problem.x.new_zeros(len(problem), *coarse_shape(problem.shape, self.tiles))
        return State(problem.x, prior, problem.full(0, torch.float64), problem.full(0).long())

    def _parameters(self, problem: Problem) -> tuple[float, float, float, float]:
        """Reach, prior_rate, exploration and step_size."""
        given = (self.reach, self.prior_rate, self.exploration, self.step_size)
        reach, rate, noise, step = (u if g is None else g for g, u in zip(given, _USUAL[problem.norm], strict=True))
        return reach, rate, noise, step

    def _noise(self, problem: Problem, state: State) -> Tensor:
        """[S, *coarse shape] standard normal."""
        return problem.draws.normal("noise", state.step, tuple(state.prior.shape[1:])).to(state.prior.dtype)

    def _ways(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """[S, *shape] the prior with the noise, and with its opposite, where features may change."""
        noise = self._noise(problem, state) * (self._parameters(problem)[2] / state.prior[0].numel() ** 0.5)
        one, other = (enlarged(state.prior + shift, problem.shape, "nearest") for shift in (noise, -noise))
        if problem.fixed is None:
            return one, other
        return one.masked_fill(problem.fixed, 0.0), other.masked_fill(problem.fixed, 0.0)

    def query(self, problem: Problem, state: State) -> Request:
        """The point itself, and one probe with the noise and one against it."""
        reach = self._parameters(problem)[0]
        probes = [state.point + reach * normalise(Norm.L2, way) for way in self._ways(problem, state)]
        points = problem.clip(torch.stack([state.point, *probes], 1))
        return Scores(points, candidates=inside(problem, points))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The prior learns from the probes, and the point follows it."""
        assert answer.logits is not None
        _, rate, exploration, step = self._parameters(problem)
        value = objective(self.loss, problem, answer.logits)
        # a probe has one length however long the prior is
        length = sum(distance(Norm.L2, way) for way in self._ways(problem, state))
        slope = (value[:, 1] - value[:, 2]) * length
        slopes, steps = state.slopes + slope.square(), state.step + 1
        slope = slope / (slopes / steps).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        change = self._noise(problem, state) * per_slot((rate * slope).to(state.prior.dtype), state.prior)
        if problem.norm is Norm.LINF:
            prior = _exponentiated(state.prior, change)
        else:
            prior = state.prior + change * (exploration / state.prior[0].numel() ** 0.5)
        size = (step * problem.eps).to(prior.dtype)
        move = normalise(problem.norm, enlarged(prior, problem.shape, "nearest"))
        point = problem.project(state.point + move * per_slot(size, move))
        return State(point, prior, slopes, steps)

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.step, dtype=torch.bool)


def _exponentiated(prior: Tensor, change: Tensor) -> Tensor:
    """The prior, in [-1, 1], with the odds of (1 + prior) / 2 multiplied by exp(2 change)."""
    odds = torch.log1p(prior) - torch.log1p(-prior)
    return torch.tanh(odds / 2 + change).clamp(-_MOST, _MOST)
