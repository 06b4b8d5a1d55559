"""RayS that begins along a surrogate's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.decision.rays import RayS, State
from robaudit.attacks.hybrid.turns import around, gradient_or
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request
from robaudit.threat.losses import Loss, margin
from robaudit.threat.norms import select

__all__ = ["PriorRays"]


@dataclass
class PriorState(State):
    """With ``needs`` [S] bool, the surrogates' gradient is to be taken first, and its signs ``prior`` [S, *shape].

    ``begin`` [S] int64 is the level at which they are tried.
    """

    needs: Tensor
    prior: Tensor
    begin: Tensor


@attack_parameters
class PriorRays(RayS):
    """A ray along the signs of the surrogates' margin gradient, tried once at ε; where it does not fool, RayS.

    The gradient, a mean over noisy copies, is taken once, at the sample. RayS begins as it does without it, one query
    later: searching on from these signs broke fewer samples. Where the smallest distances are sought it begins from
    them. Source: Chen & Gu 2020, "RayS: A Ray Searching Method for Hard-label Adversarial Attack", algorithm 3; that a
    surrogate's gradient is among the directions of a search with labels is the idea of Prior-Sign-OPT (Ma, Xu, Cheng,
    Xuan 2025, "Boosting Ray Search Procedure of Hard-label Attacks with Transfer-based Priors"), whose estimator of
    gradients this is not. Cost: ``copies`` forwards and backwards of the surrogates, and up to ``queries`` label
    queries.

    Args:
        queries: most queries a sample.
        early: queries of the early phase, see ``rays``; 0: none.
        stripes: whether stripes are tried at ε too, see ``rays``.
        precision: of the bisection, as a share of the domain's width.
        trial: queries for every sample; beyond them only one whose boundary is near goes on. None: all do.
        within: multiple of the radius within which the boundary is near at the end of the trial.
        copies: noisy copies of the sample that the surrogates' gradient is averaged over.
        noise: their standard deviation, as a share of the domain's width.
    """

    id = "prior-rays"
    prior = True

    copies: Count = 8
    noise: Positive = 0.15

    def most(self, task: Task) -> Cost:
        """The gradient of the surrogates, and the queries."""
        return Cost(self.copies, self.copies, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' margin, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> PriorState:
        state = super().init(problem)
        needs = torch.ones_like(problem.label, dtype=torch.bool)
        level = state.level if problem.minimal else state.level - 1
        return PriorState(**(vars(state) | {"level": level}), needs=needs, prior=state.sign, begin=level)

    def query(self, problem: Problem, state: State) -> Request:
        assert isinstance(state, PriorState)
        how = around(self.copies, self.noise)
        ask = super().query
        return gradient_or(problem.x, state.needs, margin, lambda _: ask(problem, state), how=how)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """The signs, or what RayS makes of the answer to a query."""
        assert isinstance(state, PriorState)
        if answer.gradient is None:
            return super().update(problem, state, answer)
        got = state.needs & answer.answered
        slope = answer.gradient.nan_to_num(0.0, 0.0, 0.0)
        signs = torch.where(slope < 0, -1.0, 1.0).to(problem.x)
        # where there is no ray at ε the first flip is of all signs, and so tries them as they are
        first = got if problem.minimal else torch.zeros_like(got)
        return replace(
            state,
            needs=state.needs & ~got,
            prior=select(got, signs, state.prior),
            sign=select(first, -signs, state.sign),
        )

    def first(self, problem: Problem, state: State) -> Tensor:
        assert isinstance(state, PriorState)
        return select(state.level == state.begin, state.prior, super().first(problem, state))
