"""RayS that begins along a surrogate's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.decision.rays import RayS, State
from robaudit.attacks.hybrid.turns import gradient_or
from robaudit.attacks.parameters import attack_parameters
from robaudit.attacks.requests import Answer, Request
from robaudit.threat.losses import Loss, margin
from robaudit.threat.norms import select

__all__ = ["PriorRays"]


@dataclass
class PriorState(State):
    """With ``needs`` [S] bool, the surrogates' gradient is to be taken first, and its signs ``prior`` [S, *shape]."""

    needs: Tensor
    prior: Tensor


@attack_parameters
class PriorRays(RayS):
    """A ray along the signs of the surrogates' margin gradient, tried once at ε, then RayS from these signs on.

    The gradient is taken once, at the sample. Source: Chen & Gu 2020, "RayS: A Ray Searching Method for Hard-label
    Adversarial Attack", algorithm 3; that a surrogate's gradient is among the directions of a search with labels is the
    idea of Prior-Sign-OPT (Ma et al. 2025, "Boosting Ray Search Procedure of Hard-label Attacks with
    Transfer-based Priors"), whose estimator of gradients this is not. Cost: a forward and a backward of the surrogates,
    and up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        early: queries of the early phase, see ``rays``; 0: none.
        stripes: not used, as the surrogates' signs take their place.
        precision: of the bisection, as a share of the domain's width.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial.
    """

    id = "prior-rays"
    prior = True

    def most(self, task: Task) -> Cost:
        """A gradient of the surrogates, and the queries."""
        return Cost(1, 1, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' margin, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> PriorState:
        state = super().init(problem)
        needs = torch.ones_like(problem.label, dtype=torch.bool)
        level = state.level if problem.minimal else torch.full_like(state.level, -1)
        return PriorState(**(vars(state) | {"level": level}), needs=needs, prior=state.sign)

    def query(self, problem: Problem, state: State) -> Request:
        assert isinstance(state, PriorState)
        return gradient_or(problem.x, state.needs, margin, lambda _: super(PriorRays, self).query(problem, state))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The signs, or what RayS makes of the answer to a query."""
        assert isinstance(state, PriorState)
        if answer.gradient is None:
            return super().update(problem, state, answer)
        got = state.needs & answer.answered
        slope = answer.gradient.nan_to_num(0.0, 0.0, 0.0)
        signs = torch.where(slope < 0, -1.0, 1.0).to(problem.x)
        # the first flip is of all signs, and so tries them as they are
        return replace(
            state,
            needs=state.needs & ~got,
            prior=select(got, signs, state.prior),
            sign=select(got, -signs, state.sign),
        )

    def first(self, problem: Problem, state: State) -> Tensor:
        assert isinstance(state, PriorState)
        return state.prior
