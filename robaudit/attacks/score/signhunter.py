"""SignHunter: the signs of the gradient by divide and conquer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import ScoreLoss, leads, objective, share_left
from robaudit.attacks.trial import given_up
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["SignHunter"]


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        base: [S, *shape] where the step begins: the sample, later the best point of the round before.
        sign: [S, *shape] of the step, 1 or -1; ``value`` [S] is the objective there.
        level, place: [S] the signs that are flipped next, of 2^level equal parts the one at this place; level -1: none.
        since: [S] proposals since the last that was kept, those left out counted.
        left: [S] the least share of the clean margin that was met.
        step: [S] answers so far.
    """

    base: Tensor
    sign: Tensor
    value: Tensor
    level: Tensor
    place: Tensor
    since: Tensor
    left: Tensor
    step: Tensor


@attack_parameters
class SignHunter(SlotAttack[State]):
    """Flip the signs of a step of length ε: of all features, each half, each quarter; keep what improves the loss.

    Once every single sign has been tried, the next round begins at the point found. Where both halves of a part are
    flipped, and nothing else has been since the part itself was tried, the answer is known and not asked for again.

    Source: Al-Dujaili & O'Reilly 2020, "Sign Bits Are All You Need for Black-Box Attacks", algorithms 1 and 2. The
    features are taken in their order, those that may not change left out. L∞, and L2 with equal steps in all features;
    untargeted and targeted. ``trial`` is ours. Cost: up to ``queries`` queries of the scores; a round takes twice as
    many as there are features.

    Args:
        queries: most queries a sample.
        loss: that is climbed.
        trial: queries for every sample; beyond them only one that is near to falling goes on. None: all do.
        within: largest share of the clean margin with which a sample goes on after its trial; it falls with the cube
            root of the queries.
    """

    id = "signhunter"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})

    queries: Count = 10_000
    loss: ScoreLoss = "ce"
    trial: Count | None = None
    within: Fraction = 0.55

    def init(self, problem: Problem) -> State:
        """All signs are 1, and asked about first."""
        zero = problem.full(0).long()
        worst = problem.full(float("-inf"), torch.float64)
        return State(problem.x, torch.ones_like(problem.x), worst, zero - 1, zero, zero, -worst, zero)

    def query(self, problem: Problem, state: State) -> Request:
        return Scores(_point(problem, state, _flipped(problem, state)))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep the flip if it is better, and go on to the next part, level or round."""
        assert answer.logits is not None
        value = objective(self.loss, problem, answer.logits)
        met = share_left(*leads(problem.clean, answer.logits, problem.label, problem.goal)).double()
        better = value > state.value
        sign = select(better, _flipped(problem, state), state.sign)
        value = torch.where(better, value, state.value)
        count = _order(problem)[1]
        length = _length(count, state.level)
        known = better & _asked_before(state, count)
        place = state.place + 1 + known.long()
        through = (state.level < 0) | (place * length >= count)
        level = torch.where(through, state.level + 1, state.level)
        found = replace(
            state, sign=sign, value=value, level=level, place=torch.where(through, 0, place), step=state.step + 1
        )
        # the last level had single features
        over = through & (state.level >= 0) & (length <= 1)
        return State(
            base=select(over, _point(problem, found, sign), state.base),
            sign=select(over, torch.ones_like(sign), sign),
            value=torch.where(over, float("-inf"), value),
            level=torch.where(over, -1, level),
            place=found.place,
            since=torch.where(better, 1, state.since + 1) + known.long(),
            left=torch.minimum(state.left, met),
            step=found.step,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """After ``queries`` answers, or where the trial shows that more would hardly help."""
        return (state.step >= self.queries) | given_up(self.trial, self.within, state.step, state.left)


def _order(problem: Problem) -> tuple[Tensor, Tensor]:
    """[S, d] place of each feature among those that may change, -1 for others, and [S] how many there are."""
    if problem.fixed is None:
        size = problem.x[0].numel()
        place = torch.arange(size, device=problem.x.device).expand(len(problem), -1)
        return place, torch.full_like(problem.label, size)
    free = ~problem.fixed.flatten(1)
    return torch.where(free, free.cumsum(1) - 1, -1), free.sum(1)


def _length(count: Tensor, level: Tensor) -> Tensor:
    """[S] features in each part of a level."""
    parts = 2 ** level.clamp(0, 62)
    return ((count + parts - 1) // parts).clamp_min(1)


def _asked_before(state: State, count: Tensor) -> Tensor:
    """[S] whether this part is the first half of one that was tried when all other signs were as they are.

    If it is kept, the other half's flip leads to that point, or to the one that it was compared with.
    """
    above = _length(count, state.level - 1)
    halved = (state.level > 0) & (state.place % 2 == 0) & (above == 2 * _length(count, state.level))
    parts = (count + above - 1) // above
    return halved & (state.since >= parts + state.place // 2)


def _flipped(problem: Problem, state: State) -> Tensor:
    """[S, *shape] the signs with the next part turned."""
    order, count = _order(problem)
    length = _length(count, state.level)
    first = (state.place * length)[:, None]
    part = (order >= first) & (order < first + length[:, None]) & (state.level >= 0)[:, None]
    return torch.where(part.reshape(state.sign.shape), -state.sign, state.sign)


def _point(problem: Problem, state: State, sign: Tensor) -> Tensor:
    """[S, *shape] a step of length ε with these signs from the base, in the ball and the box."""
    step = problem.eps
    if problem.norm is Norm.L2:
        step = step / _order(problem)[1].clamp_min(1).to(step.dtype).sqrt()
        sign = sign if problem.fixed is None else sign.masked_fill(problem.fixed, 0.0)
    return problem.project(state.base + sign * per_slot(step, sign))
