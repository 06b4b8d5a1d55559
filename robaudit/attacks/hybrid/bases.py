"""BASES: a search for the weights of several surrogates with which attacks on them carry over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.hybrid.turns import around, gradient_or
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request, Scores
from robaudit.attacks.score.objective import objective
from robaudit.threat.losses import Loss, margin
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["BASES"]

STEP = 3.0
"""Length of all steps of an attack on the surrogates, as a multiple of the radius."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        weights: [S, M] of the surrogates; ``start`` [S, *shape] where attacks on them begin.
        point: [S, *shape] of the present attack, after ``walked`` [S] steps.
        tried: [S] int64 -1 before the first query; then even: the next weight is raised, odd: lowered.
        raised: [S, *shape] the point of the raised weight, with the objective ``value`` [S] of the target there.
    """

    weights: Tensor
    start: Tensor
    point: Tensor
    walked: Tensor
    tried: Tensor
    raised: Tensor
    value: Tensor


@attack_parameters
class BASES(SlotAttack[State]):
    """Attack the weighted losses of several surrogates, and turn their weights to where the target gives way.

    The first attack counts all surrogates alike. Then each weight in turn is raised and lowered a little, the attack
    goes on with both from where it stands, and the one that raises the target's margin more is kept. Source: Cai, Song,
    Krishnamurthy, Roy-Chowdhury, Asif 2022, "Blackbox Attacks via Surrogate Ensemble Search"; figures of the authors'
    code. Ours: gradients of the surrogates are smoothed, and L2 steps go along the gradient, not its sign. It needs two
    surrogates or more. Cost: up to ``queries`` queries of the scores, ``steps`` times ``copies`` gradients for each.

    Args:
        queries: most queries a sample.
        steps: of an attack on the surrogates.
        rate: by which a weight is changed; all of them are 1 together at first.
        copies: noisy copies of a point that the surrogates' gradients are averaged over.
        noise: their standard deviation, as a share of the domain's width.
    """

    id = "bases"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    prior = True
    least_surrogates = 2

    queries: Count = 50
    steps: Count = 10
    rate: Positive = 5e-3
    copies: Count = 8
    noise: Positive = 0.15

    def most(self, task: Task) -> Cost:
        """An attack on the surrogates for each query."""
        gradients = self.queries * self.steps * self.copies
        return Cost(gradients, gradients, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' margin, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> State:
        zero, count = problem.full(0), max(problem.surrogates, 1)
        weights = torch.full((len(problem), count), 1 / count, dtype=problem.x.dtype, device=problem.x.device)
        none = zero.long()
        return State(weights, problem.x, problem.x, none, none - 1, problem.x, zero.double() - torch.inf)

    def _changed(self, state: State) -> Tensor:
        """[S, M] the weights that are tried now."""
        count = state.weights.shape[1]
        at = torch.arange(count, device=state.tried.device) == ((state.tried // 2) % count)[:, None]
        way = torch.where(state.tried % 2 == 0, self.rate, -self.rate)
        return torch.where(at & (state.tried >= 0)[:, None], state.weights + way[:, None], state.weights)

    def query(self, problem: Problem, state: State) -> Request:
        def asked(rows: Tensor) -> Request:
            return Scores(state.point)

        how = around(self.copies, self.noise)
        request = gradient_or(state.point, state.walked < self.steps, margin, asked, how=how)
        return replace(request, shares=self._changed(state)) if isinstance(request, Gradient) else request

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A step on the surrogates, or what the target said of where they led."""
        if answer.gradient is not None:
            got = (state.walked < self.steps) & answer.answered
            way = normalise(problem.norm, answer.gradient.nan_to_num(0.0, 0.0, 0.0))
            point = problem.project(state.point + way * per_slot(problem.eps * (STEP / self.steps), way))
            return replace(state, point=select(got, point, state.point), walked=state.walked + got.long())
        assert answer.logits is not None
        value = objective("margin", problem, answer.logits)
        value = torch.where(answer.answered, value.nan_to_num(-torch.inf, torch.inf, -torch.inf), -torch.inf)
        first, lowered = state.tried < 0, (state.tried >= 0) & (state.tried % 2 == 1)
        back = lowered & (state.value > value)  # the raised weight was better
        kept = replace(state, tried=torch.where(back, state.tried - 1, state.tried))
        settled = first | lowered
        start = select(settled, select(back, state.raised, answer.points), state.start)
        return State(
            weights=torch.where(lowered[:, None], self._changed(kept), state.weights),
            start=start,
            point=start,
            walked=torch.zeros_like(state.walked),
            tried=state.tried + 1,
            raised=answer.points,
            value=value,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return state.tried + 1 >= self.queries
