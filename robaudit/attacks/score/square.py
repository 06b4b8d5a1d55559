"""Square attack: random search over square windows, the yardstick of score-based attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.threat.losses import margin
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, per_slot, select

__all__ = ["Square"]

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 iterations, those after which the window's share is halved (section 4.1 of the source)."""


@dataclass
class State(Slots):
    """The best point, the proposal asked about, the best margin and the number of answers seen."""

    best: Tensor
    proposal: Tensor
    margin: Tensor
    step: Tensor


@attack_parameters
class Square(SlotAttack[State]):
    """Random search: set a random square to a corner of the ball, keep it if the margin improves.

    Source: Andriushchenko, Croce, Flammarion, Hein 2020, "Square Attack: a query-efficient black-box
    adversarial attack via random search", algorithms 1 and 2. Works on C x H x W images; any other shape is
    taken as one row of features. Cost: up to ``queries`` queries of the scores.

    Args:
        queries: most queries a sample.
        p_init: share of the pixels in the first window; its schedule is stretched over ``queries``.
    """

    id = "square"
    access = Access.SCORES
    norms = frozenset({Norm.LINF})

    queries: Count = 5000
    p_init: Fraction = 0.8

    def init(self, problem: Problem) -> State:
        """Vertical stripes of ±ε."""
        x = problem.x
        channels, _, width = _plane(problem.shape)
        stripes = problem.draws.sign("stripes", 0, (channels, 1, width)).to(x.dtype)
        full = stripes.expand(-1, *_plane(problem.shape)).reshape(x.shape)
        start = problem.project(x + full * per_slot(problem.eps, x))
        return State(start, start, problem.full(float("-inf")), problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Request:
        """The scores of the proposal."""
        return Scores(state.proposal)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep the proposal if it is better, and propose the next window."""
        assert answer.logits is not None
        value = margin(answer.logits, problem.label, problem.goal)
        better = value > state.margin
        best = select(better, state.proposal, state.best)
        state = State(best, best, torch.where(better, value, state.margin), state.step + 1)
        state.proposal = self._propose(problem, state)
        return state

    def _propose(self, problem: Problem, state: State) -> Tensor:
        """A window at a random place, one random sign a channel."""
        x, draws = problem.x, problem.draws
        channels, height, width = _plane(problem.shape)
        progress = ((state.step - 1) * 10_000) // self.queries
        bounds = torch.tensor(_HALVINGS, device=x.device)
        halvings = (progress[:, None] > bounds).sum(1)
        share = self.p_init / 2.0**halvings
        side = (share * height * width).sqrt().round().long().clamp(1, max(height, width))
        rows = side.clamp_max(height)
        # a narrow image keeps the window's area
        columns = torch.minimum((side * side + rows - 1) // rows, torch.full_like(side, width))
        top = draws.integers("top", state.step, height - rows + 1)
        left = draws.integers("left", state.step, width - columns + 1)
        sign = draws.sign("sign", state.step, (channels, 1, 1)).to(x.dtype)
        i = torch.arange(height, device=x.device)
        j = torch.arange(width, device=x.device)
        in_rows = (i >= top[:, None]) & (i < (top + rows)[:, None])
        in_columns = (j >= left[:, None]) & (j < (left + columns)[:, None])
        window = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
        planes = (-1, channels, height, width)
        moved = x.reshape(planes) + sign * problem.eps[:, None, None, None]
        corner = problem.project(moved.reshape(x.shape)).reshape(planes)
        return torch.where(window, corner, state.best.reshape(planes)).reshape(x.shape)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After ``queries`` answers."""
        return state.step >= self.queries


def _plane(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of a sample; a shape that is no image becomes one row."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, math.prod(shape)
