"""GFCS: along a surrogate's gradient as long as that pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.hybrid.turns import around, gradient_or
from robaudit.attacks.parameters import Count, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import STILL, objective, start_value
from robaudit.attacks.score.square import Square
from robaudit.threat.losses import Loss, margin
from robaudit.threat.masked import is_masked
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select
from robaudit.threat.random import Draws

__all__ = ["GFCS"]

L2_STEP = 0.163
"""As a share of the radius: 2 to 12.27."""
WALK = 0.3
"""Length of a step of the walk, as a share of the radius."""
WEIGHTS = 2**24
"""Distinct random directions in the output of a slot."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        best: [S, *shape] the best point, at the objective ``value`` [S].
        direction: [S, *shape] that is tried now.
        needs: [S] bool, a direction is to be taken of the surrogates first.
        forth: [S] bool, the step along it has failed, and that against it is tried.
        tries: [S] directions since the last one that was worth it; 0: the gradient, later random ones in the output.
        drawn: [S] random directions so far.
        step: [S] queries so far, of which ``searched`` [S] without the surrogates.
        walked: [S] steps of the walk so far, during which ``direction`` is the way from the sample.
    """

    best: Tensor
    value: Tensor
    direction: Tensor
    needs: Tensor
    forth: Tensor
    tries: Tensor
    drawn: Tensor
    step: Tensor
    searched: Tensor
    walked: Tensor


def _slope(logits: Tensor, label: Tensor, target_class: Tensor) -> Tensor:
    """The margin, or where the target class says so, a sum of the logits with random weights of its own.

    A target class of K or more is the number of the weights (output diversified sampling: Tashiro, Song, Ermon 2020,
    uniform on [-1, 1]).
    """
    classes = logits.shape[1]
    random = target_class >= classes
    wanted = margin(logits, label, torch.where(random, -1, target_class))
    weights = Draws(target_class).uniform("output", 0, (classes,)).to(logits) * 2 - 1
    other = (weights * torch.where(is_masked(logits), 0.0, logits)).sum(1)
    return torch.where(random, other, wanted)


@attack_parameters
class GFCS(SlotAttack[State]):
    """Ask about the end of a walk on the surrogates, step along their gradient while that pays, and then search on.

    A step along the surrogates' margin gradient is kept if it raises the target's margin, else one against it; from the
    new point the gradient is tried first again. Where neither gains much, directions follow that random weights of the
    surrogates' logits have (output diversified sampling), or, as soon as ``patience`` directions in a row have gained
    little, the ``square`` attack goes on from the best point, which no surrogate can mislead. Source: Lord, Mueller,
    Bertinetto 2022, "Attacking deep networks with surrogate-based adversarial black-box methods is easy" (Gradient
    First, Coimage Second), with the ratio of its step to its radius, 2 to 12.27, in L2. Ours: the walk, whose steps
    cost no query; gradients that are means over noisy copies, which twice to four times as many samples fall to; that a
    step must gain ``gain``; ``square``; L-infinity, where a step along the signs leads from one end of the ball to the
    other, and a random part of the features alone moves along the third direction and later ones; the rival of the
    margin is the surrogates', not the target's; and surrogates count as one model, where the source takes one after the
    other. With ``ahead`` 0, ``copies`` 1, ``gain`` 0, ``part`` 1 and ``patience`` null it is the source's but for the
    last two. Cost: ``copies`` forwards and backwards of the surrogates for each step of the walk and each direction, up
    to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        step_size: of a move, as a multiple of the radius; null: 0.163 in L2, and 2 in L-infinity.
        part: of the features that move along a random direction where the first two failed; 1: all.
        gain: share of the margin left that a step must gain.
        patience: directions in a row that gain less, after which ``square`` searches; null: it never does.
        ahead: steps of the walk, 0.3 of the radius each; 0: none.
        copies: noisy copies of a point that the surrogates' gradient is averaged over.
        noise: their standard deviation, as a share of the domain's width.
    """

    id = "gfcs"
    access = Access.SCORES
    norms = frozenset({Norm.L2, Norm.LINF})
    prior = True

    queries: Count = 10_000
    step_size: Positive | None = None
    part: Annotated[float, Field(gt=0, le=1)] = 0.05
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.01
    patience: Count | None = 1
    ahead: Natural = 10
    copies: Count = 8
    noise: Positive = 0.15

    def most(self, task: Task) -> Cost:
        """Those of the walk, and of each query, where no step against a direction is needed."""
        gradients = (self.ahead + self.queries) * self.copies
        return Cost(gradients, gradients, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' margin, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> State:
        zero = problem.full(0).long()
        start = start_value("margin", problem)
        still = torch.zeros_like(problem.x)
        return State(problem.x, start, still, ~zero.bool(), zero.bool(), zero, zero, zero, zero, zero)

    def _searches(self, state: State) -> Tensor:
        """[S] bool: slots that the surrogates lead nowhere any more."""
        return torch.zeros_like(state.needs) if self.patience is None else state.tries >= self.patience

    def query(self, problem: Problem, state: State) -> Request:
        searches = self._searches(state)
        number = problem.classes + problem.draws.integers(
            "weights", state.drawn, torch.full_like(state.drawn, WEIGHTS - 1)
        )
        chosen = torch.where(state.tries == 0, problem.goal, number)

        def asked(rows: Tensor) -> Request:
            return Scores(self._points(problem, state, searches), rows=rows)

        at = select(state.walked < self.ahead, problem.x + state.direction, state.best)
        return gradient_or(at, state.needs & ~searches, _slope, asked, chosen, around(self.copies, self.noise))

    def _points(self, problem: Problem, state: State, searches: Tensor) -> Tensor:
        """[S, *shape] a step along the direction, or of the search without surrogates."""
        length = self.step_size or (2.0 if problem.norm is Norm.LINF else L2_STEP)
        size = torch.where(state.forth, -1.0, 1.0).to(problem.eps) * length * problem.eps
        points = problem.project(state.best + per_slot(size, state.best) * state.direction)
        points = select(self._at_end(state), problem.project(problem.x + state.direction), points)
        if not bool(searches.any()):
            return points
        square = Square(queries=self.queries)  # type: ignore[call-arg]
        found = square.proposal(problem, state.best, state.searched)
        found = select(state.searched == 0, square.start(problem), found)
        return select(searches, found, points)

    def _at_end(self, state: State) -> Tensor:
        """[S] bool: slots whose next query is of the end of the walk on the surrogates."""
        return (state.walked == self.ahead) & (state.step == 0) & (self.ahead > 0)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A new direction, or what came of a step along one, or of the search."""
        if answer.gradient is not None:
            return self._turned(problem, state, answer)
        assert answer.logits is not None
        value = objective("margin", problem, answer.logits)
        # where nothing that counts has moved, rounding must not decide, which differs with the batch
        rounding = STILL * torch.finfo(answer.logits.dtype).eps * answer.logits.abs().amax(1).double()
        better = answer.answered & (value > state.value + rounding)
        worth = better & (value >= state.value + self.gain * state.value.abs())
        searches = self._searches(state)
        ahead = self._at_end(state) & answer.answered
        over = (better | (answer.answered & state.forth) | ahead) & ~searches
        return State(
            best=select(better, answer.points, state.best),
            value=torch.where(better, value, state.value),
            direction=state.direction,
            needs=over,
            forth=answer.answered & ~over & ~searches,
            tries=torch.where(worth & ~searches, 0, state.tries + (over & ~ahead).long()),
            drawn=state.drawn,
            step=state.step + answer.answered.long(),
            searched=state.searched + (answer.answered & searches).long(),
            walked=state.walked,
        )

    def _turned(self, problem: Problem, state: State, answer: Answer) -> State:
        """A step of the walk, or a new direction."""
        assert answer.gradient is not None
        got = state.needs & answer.answered
        slope = answer.gradient.nan_to_num(0.0, 0.0, 0.0)
        lot = problem.draws.uniform("part", state.drawn, problem.shape) < self.part
        direction = normalise(problem.norm, select(state.tries > 1, slope * lot, slope))
        walks = got & (state.walked < self.ahead)
        along = problem.x + state.direction + per_slot(WALK * problem.eps, direction) * direction
        direction = select(walks, problem.project(along) - problem.x, direction)
        walked = state.walked + walks.long()
        return replace(
            state,
            direction=select(got, direction, state.direction),
            needs=state.needs & ~(got & (walked == self.ahead)),
            walked=walked,
            forth=state.forth & ~got,
            drawn=state.drawn + (got & (state.tries > 0)).long(),
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= self.queries
