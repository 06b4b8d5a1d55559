"""SimBA: one step along one direction of a basis at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.images import plane
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import ScoreLoss, objective, start_value
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["SimBA"]

_SHARE = 0.25
"""Of the radius, the longest step in L2."""


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        best: [S, *shape] the best point, at the objective ``value`` [S].
        order: [S, d] int64 directions in the order in which they are tried, d of them.
        place: [S] of the direction that is tried now, over all rounds.
        forth: [S] bool, the step against it has failed, and that along it is tried.
        step: [S] answers so far.
    """

    best: Tensor
    value: Tensor
    order: Tensor
    place: Tensor
    forth: Tensor
    step: Tensor


@attack_parameters
class SimBA(SlotAttack[State]):
    """Step against one direction of an orthonormal basis, else along it, if the loss improves; take the next one.

    Directions come in random order, each once a round. Those of the cosine basis come in bands, the lowest frequencies
    first.

    Source: Guo, Gardner, You, Wilson, Weinberger 2019, "Simple Black-box Adversarial Attacks", algorithm 1, with its
    pixel and DCT bases, in bands as wide as the first one in its authors' code (28 of 224 frequencies). Every point is
    brought back into the ball. In L2 steps are at most a quarter of its radius, and half as long in each round as in
    the one before, which is ours. Cosine directions serve C x H x W images; other shapes are searched feature by
    feature. L2 and L∞; untargeted and targeted. Cost: up to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        basis: of directions, cosines or single features.
        step_size: of a move, as a fraction of the domain's width.
        band: width of a band of frequencies, as a share of all.
        loss: that is climbed.
    """

    id = "simba"
    access = Access.SCORES
    norms = frozenset({Norm.L2, Norm.LINF})

    queries: Count = 10_000
    basis: Literal["dct", "pixel"] = "dct"
    step_size: Positive = 0.2
    band: Fraction = 0.125
    loss: ScoreLoss = "ce"

    def init(self, problem: Problem) -> State:
        zero = problem.full(0).long()
        order = self._order(problem, zero)
        return State(problem.x, start_value(self.loss, problem), order, zero, zero.bool(), zero)

    def query(self, problem: Problem, state: State) -> Request:
        size = self._length(problem, state)
        size = torch.where(state.forth, size, -size)
        direction = self._direction(problem, state)
        return Scores(problem.project(state.best + direction * per_slot(size, direction)))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep what is better; the other way, or the next direction."""
        assert answer.logits is not None
        value = objective(self.loss, problem, answer.logits)
        better = value > state.value
        through = better | state.forth
        place = state.place + through.long()
        rounds = place // self._count(problem)
        again = through & (place % self._count(problem) == 0)
        order = state.order
        if bool(again.any()):
            order = select(again, self._order(problem, rounds), order)
        return State(
            best=select(better, answer.points, state.best),
            value=torch.where(better, value, state.value),
            order=order,
            place=place,
            forth=~through,
            step=state.step + 1,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= self.queries

    def _length(self, problem: Problem, state: State) -> Tensor:
        """[S] of this round's steps."""
        size = problem.full(self.step_size)
        if problem.norm is not Norm.L2:  # a step is cut to the ball feature by feature
            return size
        return torch.minimum(size, problem.eps * _SHARE) * 0.5 ** (state.place // self._count(problem)).to(size.dtype)

    def _cosines(self, problem: Problem) -> bool:
        return self.basis == "dct" and len(problem.shape) == 3

    def _count(self, problem: Problem) -> Tensor:
        """[S] directions of a round: single features that may not change are left out."""
        if problem.fixed is None or self._cosines(problem):
            return torch.full_like(problem.label, math.prod(problem.shape))
        return (~problem.fixed).flatten(1).sum(1).clamp_min(1)

    def _order(self, problem: Problem, rounds: Tensor) -> Tensor:
        """[S, d] directions in random order, band by band."""
        key = problem.draws.uniform("order", rounds, (math.prod(problem.shape),)).double()
        if self._cosines(problem):
            _, height, width = plane(problem.shape)
            bands = [
                torch.arange(size, device=key.device) // max(math.ceil(self.band * size), 1) for size in (height, width)
            ]
            band = torch.maximum(bands[0][:, None], bands[1][None]).expand(problem.shape)
            key = key + band.flatten()
        elif problem.fixed is not None:
            key = key.masked_fill(problem.fixed.flatten(1), 2.0)
        return key.argsort(dim=1, stable=True)

    def _direction(self, problem: Problem, state: State) -> Tensor:
        """[S, *shape] of length 1."""
        place = (state.place % self._count(problem))[:, None]
        index = state.order.gather(1, place)
        if not self._cosines(problem):
            return torch.zeros_like(state.best).flatten(1).scatter(1, index, 1.0).reshape(state.best.shape)
        channels, height, width = plane(problem.shape)
        within = index[:, 0] % (height * width)
        down, across = _cosine(within // width, height), _cosine(within % width, width)
        wave = (down[:, :, None] * across[:, None, :]).to(state.best.dtype)
        channel = torch.arange(channels, device=index.device)[None] == index // (height * width)
        return channel[:, :, None, None] * wave[:, None]


def _cosine(frequency: Tensor, size: int) -> Tensor:
    """[S, size] float64 rows of the orthonormal DCT-II matrix."""
    place = torch.arange(size, device=frequency.device, dtype=torch.float64) + 0.5
    wave = torch.cos(math.pi / size * frequency.double()[:, None] * place)
    return wave * ((2 - (frequency == 0).double()) / size).sqrt()[:, None]
