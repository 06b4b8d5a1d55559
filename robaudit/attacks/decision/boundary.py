"""The boundary attack: a random walk along the boundary that drifts to the sample, with labels alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.decision.points import low_noise
from robaudit.attacks.decision.walk import OWN, BoundaryWalk, Walk
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer
from robaudit.threat.norms import Norm, distance, normalise, per_slot, select

__all__ = ["Boundary"]

AROUND = OWN
NEARER = OWN + 1
LARGEST = 0.9
"""Largest step, as a share of the distance."""


@dataclass
class State(Walk):
    """A walk, whose edge is where it stands.

    Args:
        around: [S, *shape] the last step around the sample, which fooled.
        aside, inward: [S] sizes of the steps around the sample and to it, as shares of the distance.
    """

    around: Tensor
    aside: Tensor
    inward: Tensor


@attack_parameters
class Boundary(BoundaryWalk[State]):
    """Step around the sample at a random place of its sphere; where that fools, step towards it; keep what fools.

    The steps around grow and shrink until about half of them fool, as the boundary then looks flat; the steps towards
    the sample until a quarter do. They change a little with each answer rather than after a batch of them. The way to
    the first point is bisected.

    Source: Brendel, Rauber, Bethge 2018, "Decision-Based Adversarial Attacks: Reliable Attacks Against Black-Box
    Machine Learning Models", algorithm 1. Cost: up to ``queries`` label queries.

    Args:
        queries: most queries a sample.
        aside: first size of the steps around the sample, as a share of the distance.
        inward: first size of the steps towards it.
        aside_rate: share of the steps around that are to fool.
        inward_rate: share of the steps towards it that are to fool.
        adaptation: a step's size times this to the power of (1 - rate) after it fooled, of -rate after it did not.
        frequencies: share of the frequencies of each side that steps are drawn from.
    """

    id = "boundary"
    norms = frozenset({Norm.L2})

    queries: Count = 5000
    aside: Positive = 0.01
    inward: Positive = 0.01
    aside_rate: Fraction = 0.5
    inward_rate: Fraction = 0.25
    adaptation: Positive = 1.5
    frequencies: Fraction = 1.0

    def init(self, problem: Problem) -> State:
        zero = problem.full(0)
        return State.begun(
            problem, around=torch.zeros_like(problem.x), aside=zero + self.aside, inward=zero + self.inward
        )

    def ask(self, problem: Problem, state: State) -> Tensor:
        """Around the sample, or from there towards it."""
        nearer = state.around + (problem.x - state.around) * per_slot(state.inward, problem.x)
        return select(state.phase == AROUND, self._around(problem, state), nearer)

    def _around(self, problem: Problem, state: State) -> Tensor:
        """[S, *shape] at the edge's distance, a step across the way to it."""
        way = state.edge - problem.x
        length = distance(Norm.L2, way).to(way.dtype)
        unit = normalise(Norm.L2, way)
        noise = low_noise(problem, "step", state.draw, self.frequencies, 1)[:, 0]
        across = normalise(Norm.L2, noise - unit * per_slot((noise * unit).flatten(1).sum(1), unit))
        turned = normalise(Norm.L2, unit + across * per_slot(state.aside, unit))
        return problem.x + turned * per_slot(length, unit)

    def move(self, problem: Problem, state: State, phase: Tensor, answer: Answer) -> State:
        around, nearer = phase == AROUND, phase == NEARER
        went, came = around & answer.fooled, nearer & answer.fooled
        return replace(
            state,
            phase=torch.where(went, NEARER, torch.where(nearer, AROUND, state.phase)),
            around=select(went, answer.points, state.around),
            edge=select(came, answer.points, state.edge),
            aside=self._adapted(state.aside, around, went, self.aside_rate),
            inward=self._adapted(state.inward, nearer, came, self.inward_rate),
        )

    def _adapted(self, size: Tensor, mask: Tensor, fooled: Tensor, rate: float) -> Tensor:
        """[S] the size at which such a share of the steps fools is where it stays."""
        factor = torch.where(fooled, self.adaptation ** (1 - rate), self.adaptation**-rate).to(size.dtype)
        return torch.where(mask, (size * factor).clamp_max(LARGEST), size)

    def arrived(self, problem: Problem, state: State, mask: Tensor) -> State:
        return replace(state, phase=torch.where(mask, AROUND, state.phase))
