"""P-RGF: random gradient-free estimates whose directions lean towards a surrogate's gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.hybrid.turns import around, gradient_or
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import Portions, ScoreLoss, inside, objective, start_value
from robaudit.threat.losses import Loss, margin
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["PRGF", "leaning"]

PRIOR, PROBE, ESTIMATE, MOVE = range(4)
"""What a slot needs next: the surrogates' gradient, its slope in the target, the estimate, or a step along it."""
L2_STEP = 0.122
"""As a share of the radius: 2 to 16.377."""
TINY = 1e-30


def leaning(cosine: Tensor, features: int, samples: int) -> Tensor:
    """[S] share of the prior in the directions, 0 to 1, that makes the expected estimate point best.

    Args:
        cosine: [S] of the prior and the gradient, 0 to 1.
        features: D of a sample.
        samples: q directions of an estimate.
    """
    a, d, q = cosine.double().square(), features, samples
    share = (1 - a) * (1 - a * (d + 2 * q - 2)) / (a * a * d * (d + 2 * q - 2) - 2 * a * d * q + 1)
    beyond = (a * (d + 2 * q - 2) >= 1).double()
    return torch.where((share > 0) & (share < 1) & (a < 1), share, beyond)


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        point: [S, *shape], at the objective ``value`` [S].
        prior: [S, *shape] of length 1 in L2, or 0; ``share`` [S] of it in the directions.
        total: [S, *shape] sum of directions times differences so far; the direction of the step.
        size: [S] estimated length of the gradient.
        phase: [S] int64; ``part`` [S] requests of this estimate; ``step`` [S] and ``draw`` [S] number all of them.
    """

    point: Tensor
    value: Tensor
    prior: Tensor
    share: Tensor
    total: Tensor
    size: Tensor
    phase: Tensor
    part: Tensor
    step: Tensor
    draw: Tensor


@attack_parameters
class PRGF(SlotAttack[State]):
    """Estimate the gradient from random directions that lean to the surrogates', as far as these have proved right.

    The cosine of the two gradients is measured at each step, with one query along the surrogates' and now and then a
    few that tell the gradient's length; where it is high no estimate is made, and the step follows the surrogates.
    Source: Cheng, Dong, Pang, Su, Zhu 2019, "Improving Black-box Adversarial Attacks with a Transfer-based Prior"
    (P-RGF, biased sampling without the data-dependent prior); figures of the authors' code, whose ε is 0.05 in L∞ and
    16.377 in L2. Ours: smoothed gradients of the surrogates, the margin in place of the cross-entropy, which vanishes
    where logits are large, and a longer ``sigma``, as float32 rounds. Cost: up to
    ``queries`` queries of the scores, and ``copies`` gradients of the surrogates for each step.

    Args:
        queries: most queries a sample.
        samples: directions of an estimate.
        norms_of: random directions that the gradient's length is estimated from, every ten steps and at the fourth.
        sigma: root mean square of a probe, as a share of the domain's width.
        step_size: of a step, as a multiple of the radius; null: 0.1 in L-infinity, 0.122 in L2.
        loss: that is climbed.
        copies: noisy copies of a point that the surrogates' gradient is averaged over.
        noise: their standard deviation, as a share of the domain's width.
    """

    id = "p-rgf"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    several = True
    prior = True

    queries: Count = 10_000
    samples: Count = 50
    norms_of: Count = 10
    sigma: Positive = 1e-3
    step_size: Positive | None = None
    loss: ScoreLoss = "margin"
    copies: Count = 8
    noise: Positive = 0.15

    def most(self, task: Task) -> Cost:
        """A gradient of the surrogates and two queries at least a step."""
        gradients = self.copies * (self.queries // 2 + 1)
        return Cost(gradients, gradients, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' loss, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> State:
        zero, none = problem.full(0, torch.float64), torch.zeros_like(problem.x)
        count = zero.long()
        start = start_value(self.loss, problem)
        return State(problem.x, start, none, zero, none, zero, count + PRIOR, count, count, count)

    def _portions(self, problem: Problem) -> Portions:
        return Portions(self.samples, problem.max_points)

    def _few(self, problem: Problem) -> int:
        return min(self.norms_of, max(problem.max_points - 1, 1))

    def query(self, problem: Problem, state: State) -> Request:
        def asked(rows: Tensor) -> Request:
            points, wanted = self._points(problem, state)
            return Scores(points, rows=wanted, candidates=inside(problem, points))

        how = around(self.copies, self.noise)
        return gradient_or(state.point, state.phase == PRIOR, margin, asked, how=how)

    def _directions(self, problem: Problem, state: State) -> Tensor:
        """[S, P, N] of length 1: probes at random, and those of an estimate that lean towards the prior."""
        count = max(self._portions(problem).size, 1 + self._few(problem))
        drawn = problem.draws.normal("direction", state.draw, (count, *problem.shape)).to(problem.x.dtype).flatten(2)
        if problem.fixed is not None:
            drawn = drawn.masked_fill(problem.fixed.flatten(1)[:, None], 0.0)
        prior = state.prior.flatten(1)[:, None]
        across = _unit(drawn - (drawn * prior).sum(2, keepdim=True) * prior)
        share = state.share.to(drawn)[:, None, None]
        leaning_ones = share.sqrt() * prior + (1 - share).sqrt() * across
        probes = _unit(drawn)
        probes[:, 0] = prior[:, 0]
        return select(state.phase == PROBE, probes, leaning_ones)

    def _points(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        """[S, P, *shape] and bool [S, P]: the first is the prior's probe, or the step where one is due."""
        ways = self._directions(problem, state)
        points = problem.clip(
            state.point[:, None] + (ways * self._reach(problem)).reshape(-1, ways.shape[1], *problem.shape)
        )
        share = self.step_size or (0.1 if problem.norm is Norm.LINF else L2_STEP)
        moved = problem.project(
            state.point + normalise(problem.norm, state.total) * per_slot(share * problem.eps, state.point)
        )
        points[:, 0] = select(state.phase == MOVE, moved, points[:, 0])
        place = torch.arange(ways.shape[1], device=ways.device)[None]
        due = (state.step % 10 == 0) | (state.step == 3)
        probes = torch.where(due, 1 + self._few(problem), 1)
        count = torch.where(state.phase == PROBE, probes, 1)
        estimate = torch.nn.functional.pad(
            self._portions(problem).rows(state.part), (0, ways.shape[1] - self._portions(problem).size)
        )
        return points, torch.where((state.phase == ESTIMATE)[:, None], estimate, place < count[:, None])

    def _reach(self, problem: Problem) -> float:
        """Length of a probe."""
        return self.sigma * math.sqrt(math.prod(problem.shape))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The prior, or what its probe, the estimate or the step told."""
        if answer.gradient is not None:
            got = (state.phase == PRIOR) & answer.answered
            prior = _unit(answer.gradient.nan_to_num(0.0, 0.0, 0.0).flatten(1)).reshape(problem.x.shape)
            return replace(state, prior=select(got, prior, state.prior), phase=torch.where(got, PROBE, state.phase))
        assert answer.logits is not None
        value = objective(self.loss, problem, answer.logits)
        slopes = torch.where(answer.answered, (value - state.value[:, None]) / self._reach(problem), 0.0)
        probed, moved = state.phase == PROBE, (state.phase == MOVE) & answer.answered[:, 0]
        after = self._probed(problem, state, probed, slopes, answer.answered)
        after = self._estimated(problem, after, state, slopes)
        return replace(
            after,
            point=select(moved, answer.points[:, 0], state.point),
            value=torch.where(moved, value[:, 0], state.value),
            phase=torch.where(moved, PRIOR, after.phase),
            step=state.step + moved.long(),
            draw=state.draw + 1,
        )

    def _probed(self, problem: Problem, state: State, mask: Tensor, slopes: Tensor, answered: Tensor) -> State:
        """How right the prior is, which way it points, and how far the directions are to lean."""
        features = math.prod(problem.shape)
        count = answered[:, 1:].sum(1)
        size = (features * slopes[:, 1:].square().sum(1) / count.clamp_min(1)).sqrt()
        size = torch.where(mask & (count > 0), size, state.size)
        cosine = slopes[:, 0] / size.clamp_min(TINY)
        share = leaning(cosine.abs().clamp_max(1.0), features, self.samples)
        prior = select(mask & (cosine < 0), -state.prior, state.prior)
        right = mask & (share >= 1)
        return replace(
            state,
            size=size,
            prior=prior,
            share=torch.where(mask, share, state.share),
            total=select(mask, prior * per_slot(right.to(prior), prior), state.total),
            part=torch.where(mask, 0, state.part),
            phase=torch.where(mask, torch.where(right, MOVE, ESTIMATE), state.phase),
        )

    def _estimated(self, problem: Problem, after: State, state: State, slopes: Tensor) -> State:
        """The directions weighed by what they told, and after the last one the step."""
        mask = state.phase == ESTIMATE
        ways = self._directions(problem, state)
        found = torch.bmm(slopes.to(ways.dtype)[:, None], ways).reshape(problem.x.shape)
        part = state.part + 1
        ready = mask & (part >= self._portions(problem).requests)
        return replace(
            after,
            total=select(mask, state.total + found, after.total),
            part=torch.where(mask, part, after.part),
            phase=torch.where(ready, MOVE, after.phase),
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)


def _unit(ways: Tensor) -> Tensor:
    """Vectors [..., N] at length 1, or 0."""
    length: Tensor = torch.linalg.vector_norm(ways, dim=-1, keepdim=True)
    return ways / length.clamp_min(TINY)
