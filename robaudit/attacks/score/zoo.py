"""ZOO: coordinate descent on Carlini & Wagner's objective, from scores alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.descent import ADAM_EPSILON, BETA1, BETA2, Descent, ZerothOrder
from robaudit.attacks.score.hierarchy import Hierarchy
from robaudit.attacks.score.objective import penalised, places
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.descent import Constant
from robaudit.threat.norms import select

__all__ = ["ZOO"]

_LEAST_CURVATURE = 0.1
"""Of Newton's steps; a negative one counts as 1 (the authors' code)."""
_LEAST_WEIGHT = 1e-6
"""Of a coordinate, as a share of the largest: what is not perturbed comes last."""


@attack_parameters
class ZOO(ZerothOrder):
    """Minimise |δ|² + c max(-margin, 0) over random coordinates, whose derivatives are two-sided differences.

    Every coordinate has Adam's averages of its own, or takes Newton's step. c is searched for each sample: a descent
    that never fools raises it, one that does lowers it, and the next goes on where it ended.

    Source: Chen, Zhang, Sharma, Yi, Hsieh 2017, "ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep Neural
    Networks without Training Substitute Models", algorithms 1 to 3, with its coarse images, whose side doubles twice
    ("hierarchical attack"), and coordinates drawn where the perturbation is large ("optimize the important pixels
    first"); figures as in its authors' code, which has neither for images of up to ``side``. The margin counts in units
    of the spread of the sample's own logits. L2; untargeted and targeted. Cost: up to ``queries`` queries of the
    scores, of which a success in the ball saves the rest, unless the audit seeks smallest distances.

    Args:
        queries: most queries a sample.
        coordinates: in a step, at most; each takes two queries.
        searches: values of c that share the queries.
        first_c: the first of them.
        rate: of the steps, as a fraction of the domain's width.
        reach: of a difference, likewise.
        solver: how a coordinate moves.
        side: of the first coarse image, in pixels; it doubles after a tenth and after half of the queries. Samples that
            are no larger, or no C x H x W images, are searched as they are.
        importance: whether coordinates of the finer images are drawn as their surroundings are perturbed, or uniformly.
    """

    id = "zoo"

    queries: Count = 20_000
    coordinates: Count = 128
    searches: Count = 4
    first_c: Positive = 10.0
    rate: Positive = 0.01
    reach: Positive = 1e-3
    solver: Literal["adam", "newton"] = "adam"
    side: Count = 32
    importance: bool = True

    def init(self, problem: Problem) -> Descent:
        """At the sample."""
        none = problem.x.new_zeros(len(problem), *self._images(problem).canvas)
        zero, c = problem.full(0).long(), Constant.fresh(problem, self.first_c)
        return Descent(none, none, none, none, c, zero.bool(), zero, zero, Smallest.none(problem))

    def _images(self, problem: Problem) -> Hierarchy:
        return Hierarchy(problem.shape, self.side)

    def _size(self, problem: Problem) -> int:
        """Coordinates of a step."""
        return min(self.coordinates, max(problem.max_points - 1, 2) // 2, math.prod(self._images(problem).canvas))

    def _steps(self, problem: Problem) -> int:
        """Of a descent."""
        return max(self.queries // (self.searches * (2 * self._size(problem) + 1)), 1)

    def _level(self, problem: Problem, step: Tensor) -> Tensor:
        """[S] of the coarse image after so many steps of all descents."""
        return self._images(problem).level(step, self._steps(problem) * self.searches)

    def _chosen(self, problem: Problem, state: Descent) -> tuple[Tensor, Tensor]:
        """[S, N] coordinates of this step, and [S, N] bool, which of them may change."""
        images, level = self._images(problem), self._level(problem, state.draw)
        free = None if problem.fixed is None or not images.single else ~problem.fixed
        among = free if images.single else images.valid(level)
        if not self.importance or len(images.shapes) == 1:
            return places(problem, "coordinate", state.draw, self._size(problem), among, images.canvas)
        weights = images.weights(state.at, level)
        return _weighted(problem, state.draw, self._size(problem), among, weights)

    def query(self, problem: Problem, state: Descent) -> Request:
        """The point itself, then each coordinate moved up, then each moved down."""
        index, free = self._chosen(problem, state)
        size = index.shape[1]
        here = state.at[:, None].flatten(2)
        shift = torch.zeros_like(here).repeat(1, size, 1).scatter(2, index[..., None], self.reach)
        canvas = torch.cat([here, here + shift, here - shift], 1).reshape(-1, *state.at.shape[1:])
        level = self._level(problem, state.draw).repeat_interleave(2 * size + 1)
        moved = self._images(problem).shown(canvas, level).reshape(-1, 2 * size + 1, *problem.shape)
        rows = torch.cat([torch.ones_like(free[:, :1]), free, free], 1)
        return Scores(problem.clip(problem.x[:, None] + moved), rows=rows)

    def update(self, problem: Problem, state: Descent, answer: Answer) -> Descent:
        """Move the coordinates; where the descent ends, the next c."""
        assert answer.logits is not None
        index, free = self._chosen(problem, state)
        size = index.shape[1]
        loss = penalised(problem, answer.points, answer.logits, state.c.value)
        width = self._width(problem, answer, index)
        told = free & answer.answered[:, 1 : 1 + size] & answer.answered[:, 1 + size :] & (width > 0)
        ahead, behind = loss[:, 1 : 1 + size], loss[:, 1 + size :]
        width = torch.where(told, width, 1.0)
        slope = torch.where(told, (ahead - behind) / width, 0.0)
        curvature = (ahead + behind - 2 * loss[:, :1]) * 4 / width.square()
        first, second, times, move = self._moves(state, index, slope, curvature)
        move = torch.where(told, move, 0.0).to(state.at.dtype)
        at = state.at.flatten(1).scatter_add(1, index, -move).reshape(state.at.shape)
        here = answer.at(0)
        won = state.won | (here.fooled & here.answered)
        step = state.step + 1
        ended = step >= self._steps(problem)
        kept = torch.where(told, 1.0, 0.0).to(state.at.dtype)

        def placed(old: Tensor, new: Tensor) -> Tensor:
            flat, new = old.flatten(1), new.to(old.dtype)
            new = torch.lerp(flat.gather(1, index), new, kept)
            return flat.scatter(1, index, new).reshape(old.shape)

        after = replace(
            state,
            at=at,
            first=placed(state.first, first),
            second=placed(state.second, second),
            times=placed(state.times, times),
        )
        return replace(
            self._grown(problem, after),
            c=state.c.after(ended, won),
            won=won & ~ended,
            step=torch.where(ended, 0, step),
            draw=state.draw + 1,
            smallest=state.smallest.seen(problem, here),
        )

    def _width(self, problem: Problem, answer: Answer, index: Tensor) -> Tensor:
        """[S, N] float64 between the two points of a coordinate, which of a single feature the box may have cut."""
        size = index.shape[1]
        if not self._images(problem).single:
            return torch.full(index.shape, 2 * self.reach, dtype=torch.float64, device=index.device)
        ups, downs = (
            answer.points[:, 1 + k : 1 + k + size].flatten(2).gather(2, index[..., None])[..., 0] for k in (0, size)
        )
        return (ups - downs).double()

    def _grown(self, problem: Problem, state: Descent) -> Descent:
        """With the perturbation as the next step has it; on a finer image, the moments begin anew."""
        images = self._images(problem)
        if images.single:  # the box keeps the features themselves
            return replace(state, at=torch.minimum(torch.maximum(state.at, -problem.x), 1 - problem.x))
        before, now = self._level(problem, state.draw), self._level(problem, state.draw + 1)
        risen, none = before < now, torch.zeros_like(state.at)
        return replace(
            state,
            at=images.grown(state.at, before, now),
            first=select(risen, none, state.first),
            second=select(risen, none, state.second),
            times=select(risen, none, state.times),
        )

    def _moves(self, state: Descent, index: Tensor, slope: Tensor, curvature: Tensor) -> tuple[Tensor, ...]:
        """[S, N] each: the coordinates' moments, how often they were moved, and what is taken off them."""
        first, second, times = (
            old.flatten(1).gather(1, index).double() for old in (state.first, state.second, state.times)
        )
        first, second, times = (
            BETA1 * first + (1 - BETA1) * slope,
            BETA2 * second + (1 - BETA2) * slope**2,
            times + 1,
        )
        if self.solver == "newton":
            bend = torch.where(curvature < 0, 1.0, curvature).clamp_min(_LEAST_CURVATURE)
            return first, second, times, self.rate * slope / bend
        scale = (1 - BETA2**times).sqrt() / (1 - BETA1**times)
        return first, second, times, self.rate * scale * first / (second.sqrt() + ADAM_EPSILON)


def _weighted(
    problem: Problem, step: Tensor, count: int, among: Tensor | None, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """[S, N] places drawn without replacement, with chances as the weights; and [S, N] bool, which lie in ``among``.

    The N shortest waiting times of exponential distributions with these rates (Efraimidis & Spirakis 2006).

    Args:
        problem: the slots.
        step: [S] of the draw.
        count: N.
        among: [S, *canvas] bool; None: all.
        weights: [S, *canvas].
    """
    lot = problem.draws.uniform("coordinate", step, tuple(weights.shape[1:])).double().flatten(1)
    rate = weights.double().flatten(1)
    wait = -torch.log1p(-lot) / rate.clamp_min(_LEAST_WEIGHT * rate.amax(1, keepdim=True))
    if among is not None:
        wait = wait.masked_fill(~among.flatten(1), float("inf"))
    wait, place = wait.sort(dim=1, stable=True)
    return place[:, :count], wait[:, :count].isfinite()
