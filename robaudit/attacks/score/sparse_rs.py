"""Sparse-RS: random search over which features change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import chosen, objective
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, select

__all__ = ["SparseRS"]

_BOUNDS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""Of 10,000 iterations, those after which the share of features that a step swaps is divided by the next number."""


@dataclass
class State(Slots):
    """The best point and the proposal asked about, the features that each changes, the best value, answers so far."""

    best: Tensor
    chosen: Tensor
    proposal: Tensor
    proposed: Tensor
    value: Tensor
    step: Tensor


@attack_parameters
class SparseRS(SlotAttack[State]):
    """Swap some of the changed features for others, each at an end of its range; keep what improves the loss.

    As many features change as the radius allows. A feature that lies at one end of its range already is moved to the
    other one. The loss is the margin; in a targeted audit the goal's cross-entropy.

    Source: Croce, Andriushchenko, Singh, Flammarion, Hein 2022, "Sparse-RS: a versatile framework for query-efficient
    sparse black-box adversarial attacks", algorithm 1 with its sampling for L0; the schedule is that of its authors'
    code. They count pixels and change all channels of one; here each channel is a feature of its own, as the threat
    model counts. L0; untargeted and targeted. Cost: up to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        share: of the changed features that the first step swaps.
        schedule: iterations over which the share falls to a twentieth; default ``queries``.
    """

    id = "sparse-rs"
    access = Access.SCORES
    norms = frozenset({Norm.L0})

    queries: Count = 10_000
    share: Fraction = 0.3
    schedule: Count | None = None

    def init(self, problem: Problem) -> State:
        """Random features at random ends."""
        none, step = torch.zeros_like(problem.x, dtype=torch.bool), problem.full(0).long()
        mask = chosen(problem, "first", 0, problem.eps.floor().long(), _free(problem))
        point = torch.where(mask, _ends(problem, step), problem.x)
        worst = problem.full(float("-inf"), torch.float64)
        return State(problem.x, none, problem.clip(point), mask, worst, step)

    def query(self, problem: Problem, state: State) -> Request:
        return Scores(state.proposal)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep the proposal if it is better, and propose the next swap."""
        assert answer.logits is not None
        lead, odds = (objective(name, problem, answer.logits) for name in ("margin", "ce"))
        value = torch.where(problem.goal >= 0, odds, lead)
        better = value > state.value
        best, mask = select(better, answer.points, state.best), select(better, state.proposed, state.chosen)
        step = state.step + 1
        proposal, proposed = self._swapped(problem, best, mask, step)
        return State(best, mask, proposal, proposed, torch.where(better, value, state.value), step)

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= self.queries

    def _swapped(self, problem: Problem, best: Tensor, mask: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Points and their changed features; where every feature changes already, some change anew."""
        size, outside = mask.flatten(1).sum(1), _free(problem) & ~mask
        others = outside.flatten(1).sum(1)
        count = (self._share(step) * size).long().clamp_min(1)
        count = torch.where(others > 0, torch.minimum(count, others), count)
        out = chosen(problem, "out", step, count, mask)
        into = chosen(problem, "into", step, count, outside)
        into = select(others > 0, into, out)
        point = torch.where(into, _ends(problem, step), torch.where(out, problem.x, best))
        return problem.clip(point), (mask & ~out) | into

    def _share(self, step: Tensor) -> Tensor:
        """[S] of the changed features that this step swaps."""
        progress = step * 10_000 // (self.schedule or self.queries)
        bounds, divisors = (torch.tensor(values, device=step.device) for values in (_BOUNDS, _DIVISORS))
        return self.share / divisors[torch.bucketize(progress, bounds)].double()


def _free(problem: Problem) -> Tensor:
    """[S, *shape] bool: what may change."""
    return torch.ones_like(problem.x, dtype=torch.bool) if problem.fixed is None else ~problem.fixed


def _ends(problem: Problem, step: Tensor) -> Tensor:
    """[S, *shape] each feature at an end of its range, drawn at random, never where it is."""
    x = problem.x
    drawn = (problem.draws.uniform("end", step, problem.shape) < 0.5).to(x.dtype)
    return torch.where(x == 0, 1.0, torch.where(x == 1, 0.0, drawn)).to(x.dtype)
