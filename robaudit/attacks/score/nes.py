"""NES: gradients estimated from antithetic Gaussian probes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.attacks.score.objective import Portions, ScoreLoss, differences, inside, objective
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, normalise, per_slot, select

__all__ = ["NES"]


@dataclass
class State(Slots):
    """One slot's search.

    Args:
        point: [S, *shape] where the gradient is estimated.
        gradient: [S, *shape] running mean of the estimates; ``total`` the sum of this step's probes so far.
        value: [S] sum of the objective at this step's probes so far.
        part: [S] requests of this step so far; ``draw`` numbers all of them.
        rate: [S] length of a step as a share of ε.
        past: [S, plateau] mean objective of the last steps, the latest at the end; ``known`` [S] how many there are.
    """

    point: Tensor
    gradient: Tensor
    total: Tensor
    value: Tensor
    part: Tensor
    draw: Tensor
    rate: Tensor
    past: Tensor
    known: Tensor


@attack_parameters
class NES(SlotAttack[State]):
    """Ascend along a gradient estimated from pairs of points on opposite sides, with momentum.

    Steps go along the gradient's sign in L∞, along the gradient in L2. They are shortened where the objective is lower
    than it was some steps before.

    Source: Ilyas, Engstrom, Athalye, Lin 2018, "Black-box Adversarial Attacks with Limited Queries and Information",
    algorithm 1; momentum, shorter steps and figures are those of its authors' code, whose ε is 0.05. L∞ and L2;
    untargeted and targeted. Cost: up to ``queries`` queries of the scores, ``samples`` + 1 a step.

    Args:
        queries: most queries a sample.
        samples: probes of an estimate, in pairs.
        sigma: standard deviation of the probes, as a fraction of the domain's width.
        first_step: length of the first steps, as a share of ε.
        last_step: of the shortest ones, likewise.
        momentum: weight of the estimates before.
        plateau: steps that the objective is compared over.
        drop: by which a step's length is divided on a plateau.
        loss: that is climbed.
    """

    id = "nes"
    access = Access.SCORES
    norms = frozenset({Norm.LINF, Norm.L2})
    several = True

    queries: Count = 10_000
    samples: Count = 50
    sigma: Positive = 1e-3
    first_step: Positive = 0.2
    last_step: Positive = 1e-3
    momentum: Fraction = 0.9
    plateau: Count = 5
    drop: Positive = 2.0
    loss: ScoreLoss = "ce"

    def init(self, problem: Problem) -> State:
        zero, none = problem.full(0), torch.zeros_like(problem.x)
        past = torch.zeros(len(problem), self.plateau, dtype=torch.float64, device=none.device)
        count = zero.long()
        return State(problem.x, none, none, zero.double(), count, count, zero + self.first_step, past, count)

    def _portions(self, problem: Problem) -> Portions:
        """Pairs; the point itself is asked about too."""
        return Portions(max(self.samples // 2, 1), max(problem.max_points - 1, 2) // 2)

    def query(self, problem: Problem, state: State) -> Request:
        """The point itself once a step, then the probes on one side, then those on the other."""
        portions = self._portions(problem)
        noise = problem.draws.normal("probe", state.draw, (portions.size, *problem.shape)).to(problem.x.dtype)
        noise, here = noise * self.sigma, state.point[:, None]
        probes = problem.clip(torch.cat([here + noise, here - noise], 1))
        rows = torch.cat([(state.part == 0)[:, None], portions.rows(state.part, 2)], 1)
        points = torch.cat([here, probes], 1)
        return Scores(points, rows=rows, candidates=inside(problem, points))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Add the probes up; with all of them, a step."""
        assert answer.logits is not None
        portions = self._portions(problem)
        value = objective(self.loss, problem, answer.logits[:, 1:])
        asked = answer.answered[:, 1:]
        total = state.total + differences(answer.points[:, 1:], value, asked)
        seen = state.value + torch.where(asked, value, 0.0).sum(1)
        part = state.part + 1
        ready = part >= portions.requests
        gradient = self.momentum * state.gradient + (1 - self.momentum) * total
        past, known, rate = self._annealed(state, ready, seen)
        length = (rate * problem.eps).to(total.dtype)
        stepped = problem.project(state.point + normalise(problem.norm, gradient) * per_slot(length, gradient))
        return State(
            point=select(ready, stepped, state.point),
            gradient=select(ready, gradient, state.gradient),
            total=select(ready, torch.zeros_like(total), total),
            value=torch.where(ready, 0.0, seen),
            part=torch.where(ready, 0, part),
            draw=state.draw + 1,
            rate=rate,
            past=past,
            known=known,
        )

    def done(self, problem: Problem, state: State) -> Tensor:
        """The budget ends it."""
        return torch.zeros_like(state.part, dtype=torch.bool)

    def _annealed(self, state: State, ready: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Past objectives, how many are known, and the length of a step, which a plateau makes shorter."""
        past = torch.cat([state.past[:, 1:], value[:, None]], 1)
        known = (state.known + 1).clamp_max(self.plateau)
        flat = (known == self.plateau) & (past[:, -1] < past[:, 0])
        shorter = (state.rate / self.drop).clamp_min(min(self.last_step, self.first_step))
        return (
            select(ready, past, state.past),
            torch.where(ready, torch.where(flat, 0, known), state.known),
            torch.where(ready & flat, shorter, state.rate),
        )
