"""GFCS: one step at a time along a surrogate's gradient, or where that fails along directions in its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.hybrid.turns import gradient_or
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import STILL, objective, start_value
from robaudit.threat.losses import Loss, margin
from robaudit.threat.masked import is_masked
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select
from robaudit.threat.random import Draws

__all__ = ["GFCS"]

L2_STEP = 0.163
"""As a share of the radius: 2 to 12.27."""
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
        tries: [S] directions since the point was reached; 0: its gradient, later random ones in the output.
        drawn: [S] random directions so far.
        step: [S] queries so far.
    """

    best: Tensor
    value: Tensor
    direction: Tensor
    needs: Tensor
    forth: Tensor
    tries: Tensor
    drawn: Tensor
    step: Tensor


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
    """Step along the surrogates' margin gradient if that raises the target's margin, else against it, else elsewhere.

    Where both ways fail, directions follow that random weights of the surrogates' logits have (output diversified
    sampling), until one raises the margin; from the new point the gradient is tried first again. Source: Lord, Mueller,
    Bertinetto 2022, "Attacking deep networks with surrogate-based adversarial black-box methods is easy" (Gradient
    First, Coimage Second), algorithm 1, with the ratio of its step to its radius, 2 to 12.27, in L2. Ours: L-infinity,
    where a step along the signs leads from one end of the ball to the other; a random part of the features alone moves
    along later directions from a point, as the first ones fail together where many features are at the box's end; and
    surrogates that count as one model, where the source takes one after the other. Cost: a forward and a backward of
    the surrogates for each direction, up to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        step_size: of a move, as a multiple of the radius; null: 0.163 in L2, and 2 in L-infinity.
        part: of the features that move along a random direction where the first two failed; 1: all, as in the source.
    """

    id = "gfcs"
    access = Access.SCORES
    norms = frozenset({Norm.L2, Norm.LINF})
    prior = True

    queries: Count = 10_000
    step_size: Positive | None = None
    part: Annotated[float, Field(gt=0, le=1)] = 0.05

    def most(self, task: Task) -> Cost:
        """A gradient of the surrogates for each query, where no step against a direction is needed."""
        return Cost(self.queries, self.queries, self.queries)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The surrogates' margin, which says nothing of the target's gradients."""
        return {}

    def init(self, problem: Problem) -> State:
        zero = problem.full(0).long()
        start = start_value("margin", problem)
        still = torch.zeros_like(problem.x)
        return State(problem.x, start, still, ~zero.bool(), zero.bool(), zero, zero, zero)

    def query(self, problem: Problem, state: State) -> Request:
        length = self.step_size or (2.0 if problem.norm is Norm.LINF else L2_STEP)
        size = torch.where(state.forth, -1.0, 1.0).to(problem.eps) * length * problem.eps

        def asked(rows: Tensor) -> Request:
            return Scores(problem.project(state.best + per_slot(size, state.best) * state.direction), rows=rows)

        number = problem.classes + problem.draws.integers(
            "weights", state.drawn, torch.full_like(state.drawn, WEIGHTS - 1)
        )
        chosen = torch.where(state.tries == 0, problem.goal, number)
        return gradient_or(state.best, state.needs, _slope, asked, chosen)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A new direction, or what came of a step along one."""
        if answer.gradient is not None:
            got = state.needs & answer.answered
            slope = answer.gradient.nan_to_num(0.0, 0.0, 0.0)
            lot = problem.draws.uniform("part", state.drawn, problem.shape) < self.part
            direction = normalise(problem.norm, select(state.tries > 1, slope * lot, slope))
            return State(
                best=state.best,
                value=state.value,
                direction=select(got, direction, state.direction),
                needs=state.needs & ~got,
                forth=state.forth & ~got,
                tries=state.tries,
                drawn=state.drawn + (got & (state.tries > 0)).long(),
                step=state.step,
            )
        assert answer.logits is not None
        value = objective("margin", problem, answer.logits)
        # where nothing that counts has moved, rounding must not decide, which differs with the batch
        rounding = STILL * torch.finfo(answer.logits.dtype).eps * answer.logits.abs().amax(1).double()
        better = answer.answered & (value > state.value + rounding)
        over = better | (answer.answered & state.forth)
        return State(
            best=select(better, answer.points, state.best),
            value=torch.where(better, value, state.value),
            direction=state.direction,
            needs=over,
            forth=answer.answered & ~over,
            tries=torch.where(better, 0, state.tries + over.long()),
            drawn=state.drawn,
            step=state.step + answer.answered.long(),
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= self.queries
