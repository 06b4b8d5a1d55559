"""Square attack: random search over square windows, the yardstick of score-based attacks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.images import is_large_image, plane, stripes
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import leads, share_left
from robaudit.attacks.score.square_bumps import Room, Windows, bumps, halvings, tiles
from robaudit.attacks.trial import given_up
from robaudit.threat.losses import cross_entropy
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, blend, per_slot, select

__all__ = ["Square"]

_TINY = 1e-12


@dataclass
class State(Slots):
    """The best point, the proposal asked about, the best point's loss, and the number of answers seen.

    ``left`` is the margin there as a share of the sample's own.
    """

    best: Tensor
    proposal: Tensor
    value: Tensor
    left: Tensor
    step: Tensor


@attack_parameters
class Square(SlotAttack[State]):
    """Random search over square windows that keeps what improves the loss.

    In L-infinity a window is set to a corner of the ball, and to another one where that would change nothing. In L2 and
    L1 a window takes over the perturbation of another, as two bumps of opposite sign. The loss is the margin; in a
    targeted audit the goal's cross-entropy. A rival whose lead over the label is still exactly the sample's, as that of
    a twin of the label's class is everywhere, has no part in the margin.

    Source: Andriushchenko, Croce, Flammarion, Hein 2020, "Square Attack: a query-efficient black-box
    adversarial attack via random search", algorithms 1 to 3; L1: Croce & Hein 2021, "Mind the box: l1-APGD for sparse
    adversarial attacks on image classifiers". Works on C x H x W images; any other shape is taken as one row of
    features. Cost: up to ``queries`` queries of the scores; ``trial`` is ours.

    Args:
        queries: most queries a sample.
        p_init: share of the pixels in the first window. None: what suits models that were not trained to resist, 0.05
            for images of 64 x 64 pixels and more and 0.3 for smaller ones; in L2 and L1 0.1.
        schedule: iterations over which the windows shrink; default ``queries``, AutoAttack has 10,000.
        trial: queries for every sample; beyond them only one that is near to falling goes on. None: all do.
        within: largest share of the clean margin with which a sample goes on after its trial; it falls with the cube
            root of the queries.
    """

    id = "square"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    queries: Count = 5000
    p_init: Fraction | None = 0.8
    schedule: Count | None = None
    trial: Count | None = None
    within: Fraction = 0.55

    def init(self, problem: Problem) -> State:
        """Vertical stripes of ±ε; in L2 and L1 a grid of bumps."""
        start = self.start(problem)
        worst = problem.full(float("-inf"))
        return State(start, start, worst, -worst, problem.full(0).long())

    def start(self, problem: Problem) -> Tensor:
        """[S, *shape] where the search begins."""
        if problem.norm is Norm.LINF:
            return problem.project(problem.x + stripes(problem) * per_slot(problem.eps, problem.x))
        return _filled(problem, tiles(problem))

    def proposal(self, problem: Problem, best: Tensor, step: Tensor) -> Tensor:
        """[S, *shape] the best point with another window changed, after so many answers [S] int64, 1 or more."""
        propose = self._corner if problem.norm is Norm.LINF else self._moved
        return propose(problem, best, step)

    def query(self, problem: Problem, state: State) -> Request:
        return Scores(state.proposal)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Keep the proposal if it is better, and propose the next window."""
        assert answer.logits is not None
        lead, clean = leads(problem.clean, answer.logits, problem.label, problem.goal)
        value = torch.where(problem.goal >= 0, cross_entropy(answer.logits, problem.label, problem.goal), lead)
        better = value > state.value
        value = torch.where(better, value, state.value)
        left = torch.where(better, share_left(lead, clean), state.left)
        best = select(better, state.proposal, state.best)
        step = state.step + 1
        return State(best, self.proposal(problem, best, step), value, left, step)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After ``queries`` answers, or where the trial shows that more would hardly help."""
        return (state.step >= self.queries) | given_up(self.trial, self.within, state.step, state.left)

    def _first(self, problem: Problem) -> float:
        """Share of the pixels in the first window."""
        if self.p_init is not None:
            return self.p_init
        if problem.norm is not Norm.LINF:
            return 0.1
        return 0.05 if is_large_image(problem.shape) else 0.3

    def _area(self, first: float, step: Tensor, pixels: Tensor) -> Tensor:
        """[S] pixels of the next window, of [S] that there are."""
        progress = ((step - 1) * 10_000) // (self.schedule or self.queries)
        return first / 2.0 ** halvings(progress) * pixels

    def _corner(self, problem: Problem, best: Tensor, step: Tensor) -> Tensor:
        """L-infinity: one random sign a channel in a window at a random place."""
        x = problem.x
        channels = plane(problem.shape)[0]
        room = Room.of(problem)
        side = self._area(self._first(problem), step, room.height * room.width).sqrt().round().long().clamp_min(1)
        side = torch.minimum(side, torch.maximum(room.height, room.width))
        chance, sign = _drawn(problem, step, channels)
        window = Windows.of(problem, side, chance[:, :2])
        point = best.clone(memory_format=torch.contiguous_format)
        idle = _stamp(problem, point, window, sign)
        if bool(idle.any()):  # it would cost a query and tell nothing
            which = problem.draws.integers("again", step, torch.full_like(step, channels))
            other = torch.arange(channels, device=x.device)[None, :, None, None] == which[:, None, None, None]
            _stamp(problem, point, window, torch.where(other, -sign, sign), idle)
        return point

    def _moved(self, problem: Problem, best: Tensor, step: Tensor) -> Tensor:
        """L2, L1: what two windows hold, and what the ball leaves, goes into one of them as bumps."""
        x, eps = problem.x, problem.eps[:, None, None, None]
        channels, height, width = plane(problem.shape)
        power = 2.0 if problem.norm is Norm.L2 else 1.0
        room = Room.of(problem)
        side = self._area(self._first(problem), step, room.height * room.width).sqrt().round().long().clamp_min(3)
        side = torch.minimum(side + (side % 2 == 0), torch.maximum(room.height, room.width))
        chance, sign = _drawn(problem, step, channels)
        into, out = Windows.of(problem, side, chance[:, :2]), Windows.of(problem, side, chance[:, 2:4]).mask
        delta = (best - x).reshape(-1, channels, height, width)
        inside = delta * into.mask
        left = (eps**power - _sum(delta, power, whole=True)).clamp_min(0) / channels
        size = (left + _sum(delta * (into.mask | out), power)) ** (1 / power)
        if problem.norm is Norm.L1:
            size = size * channels
        fresh = sign * bumps(into, chance[:, 4] < 0.5, problem.norm).to(x.dtype)
        fresh = fresh + inside / (_TINY + _sum(inside, power) ** (1 / power))
        fresh = fresh / (_TINY + _sum(fresh, power) ** (1 / power)) * size
        delta = torch.where(into.mask, fresh, delta.masked_fill(out, 0))
        return _filled(problem, delta)


def _drawn(problem: Problem, step: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """All chance of one proposal: [S, 5] uniform numbers, and [S, C, 1, 1] signs."""
    drawn = problem.draws.uniform("window", step, (5 + channels,))
    sign = torch.where(drawn[:, 5:, None, None] < 0.5, -1.0, 1.0)
    return drawn[:, :5], sign.to(problem.x.dtype)


def _stamp(problem: Problem, point: Tensor, windows: Windows, sign: Tensor, only: Tensor | None = None) -> Tensor:
    """Set points [S, *shape], in place, to the corner of the ball that ``sign`` [S, C, 1, 1] names in the window.

    ``only`` [S] bool says which; None: all. Returns [S] bool, where that changes nothing.
    """
    planes = (-1, *plane(problem.shape))
    if problem.x.device.type == "cpu" and not problem.joint:
        assert problem.low is not None
        assert problem.high is not None
        low, high = problem.low.reshape(planes), problem.high.reshape(planes)
        out, idle = point.view(planes), torch.zeros(len(problem), dtype=torch.bool)
        chosen = range(len(problem)) if only is None else only.nonzero()[:, 0].tolist()
        places = list(windows.slices())
        for slot in chosen:  # a mask over all pixels takes ten times as long
            place = (slot, slice(None), *places[slot])
            new = torch.where(sign[slot] > 0, high[place], low[place])
            idle[slot] = torch.equal(new, out[place])
            out[place] = new
        return idle
    moved = problem.x.reshape(planes) + sign * problem.eps[:, None, None, None]
    corner = problem.project(moved.reshape(problem.x.shape)).reshape(planes)
    stamped = blend(windows.mask, corner, point.reshape(planes)).reshape(problem.x.shape)
    stamped = stamped if only is None else select(only, stamped, point)
    idle = (stamped == point).flatten(1).all(1)
    point.copy_(stamped)
    return idle


def _sum(delta: Tensor, power: float, *, whole: bool = False) -> Tensor:
    """Sum of |delta|^power over each channel, or the whole sample, with its dimensions kept."""
    return delta.abs().pow(power).sum((1, 2, 3) if whole else (2, 3), keepdim=True)


def _filled(problem: Problem, delta: Tensor) -> Tensor:
    """The point at perturbation ``delta`` [S, C, H, W], which in L2 is first brought to length ε."""
    if problem.norm is Norm.L2:
        length = _sum(delta, 2.0, whole=True).sqrt()
        delta = delta / (length + _TINY) * problem.eps[:, None, None, None]
    return problem.project(problem.x + delta.reshape(problem.x.shape))
