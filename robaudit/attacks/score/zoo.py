"""ZOO: coordinate descent on Carlini & Wagner's objective, from scores alone."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.descent import ADAM_EPSILON, BETA1, BETA2, Descent, ZerothOrder
from robaudit.attacks.score.objective import penalised, places
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.whitebox.descent import Constant

__all__ = ["ZOO"]

_LEAST_CURVATURE = 0.1
"""Of Newton's steps; a negative one counts as 1 (the authors' code)."""


@attack_parameters
class ZOO(ZerothOrder):
    """Minimise |δ|² + c max(-margin, 0) over random coordinates, whose derivatives are two-sided differences.

    Every coordinate has Adam's averages of its own, or takes Newton's step. c is searched for each sample: a descent
    that never fools raises it, one that does lowers it, and the next goes on where it ended.

    Source: Chen, Zhang, Sharma, Yi, Hsieh 2017, "ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep Neural
    Networks without Training Substitute Models", algorithms 1 to 3; differences and curvature as in its authors' code.
    Neither its coarse images nor its importance sampling. The margin counts in units of the spread of the sample's own
    logits. L2; untargeted and targeted. Cost: up to ``queries`` queries of the scores, of which a success in the ball
    saves the rest, unless the audit seeks smallest distances.

    Args:
        queries: most queries a sample.
        coordinates: in a step, at most; each takes two queries.
        searches: values of c that share the queries.
        first_c: the first of them.
        rate: of the steps, as a fraction of the domain's width.
        reach: of a difference, likewise.
        solver: how a coordinate moves.
    """

    id = "zoo"

    queries: Count = 20_000
    coordinates: Count = 128
    searches: Count = 4
    first_c: Positive = 10.0
    rate: Positive = 0.01
    reach: Positive = 1e-3
    solver: Literal["adam", "newton"] = "adam"

    def init(self, problem: Problem) -> Descent:
        zero, none = problem.full(0).long(), torch.zeros_like(problem.x)
        c = Constant.fresh(problem, self.first_c)
        return Descent(problem.x, none, none, none, c, zero.bool(), zero, zero, Smallest.none(problem))

    def _size(self, problem: Problem) -> int:
        """Coordinates of a step."""
        return min(self.coordinates, max(problem.max_points - 1, 2) // 2, math.prod(problem.shape))

    def _steps(self, problem: Problem) -> int:
        """Of a descent."""
        return max(self.queries // (self.searches * (2 * self._size(problem) + 1)), 1)

    def _chosen(self, problem: Problem, state: Descent) -> tuple[Tensor, Tensor]:
        """[S, N] coordinates of this step, and [S, N] bool, which of them may change."""
        free = None if problem.fixed is None else ~problem.fixed
        return places(problem, "coordinate", state.draw, self._size(problem), free)

    def query(self, problem: Problem, state: Descent) -> Request:
        """The point itself, then each coordinate moved up, then each moved down."""
        index, free = self._chosen(problem, state)
        size = index.shape[1]
        here = state.at[:, None].flatten(2)
        shift = torch.zeros_like(here).repeat(1, size, 1).scatter(2, index[..., None], self.reach)
        points = torch.cat([here, here + shift, here - shift], 1).reshape(-1, 2 * size + 1, *problem.shape)
        rows = torch.cat([torch.ones_like(free[:, :1]), free, free], 1)
        return Scores(problem.clip(points), rows=rows)

    def update(self, problem: Problem, state: Descent, answer: Answer) -> Descent:
        """Move the coordinates; where the descent ends, the next c."""
        assert answer.logits is not None
        index, free = self._chosen(problem, state)
        size = index.shape[1]
        loss = penalised(problem, answer.points, answer.logits, state.c.value)
        ups, downs = (
            answer.points[:, 1 + k : 1 + k + size].flatten(2).gather(2, index[..., None])[..., 0] for k in (0, size)
        )
        told = free & answer.answered[:, 1 : 1 + size] & answer.answered[:, 1 + size :] & (ups > downs)
        ahead, behind = loss[:, 1 : 1 + size], loss[:, 1 + size :]
        width = torch.where(told, ups - downs, 1.0).double()
        slope = torch.where(told, (ahead - behind) / width, 0.0)
        curvature = (ahead + behind - 2 * loss[:, :1]) * 4 / width.square()
        first, second, times, move = self._moves(state, index, slope, curvature)
        move = torch.where(told, move, 0.0).to(state.at.dtype)
        point = state.at.flatten(1).scatter_add(1, index, -move).reshape(state.at.shape)
        here = answer.at(0)
        fooled = here.fooled & here.answered
        won = state.won | fooled
        step = state.step + 1
        ended = step >= self._steps(problem)
        kept = torch.where(told, 1.0, 0.0).to(state.at.dtype)

        def placed(old: Tensor, new: Tensor) -> Tensor:
            flat, new = old.flatten(1), new.to(old.dtype)
            new = torch.lerp(flat.gather(1, index), new, kept)
            return flat.scatter(1, index, new).reshape(old.shape)

        return Descent(
            at=problem.clip(point),
            first=placed(state.first, first),
            second=placed(state.second, second),
            times=placed(state.times, times),
            c=state.c.after(ended, won),
            won=won & ~ended,
            step=torch.where(ended, 0, step),
            draw=state.draw + 1,
            smallest=state.smallest.seen(problem, here),
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
