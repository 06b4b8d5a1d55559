"""Sigma-zero: a sparse attack by gradient descent on a smooth count of features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.minimal import MinimalNormAttack, Search
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest, cosine
from robaudit.threat.losses import loss_named
from robaudit.threat.norms import Norm, per_slot

__all__ = ["SigmaZero"]

BETA_1, BETA_2 = 0.9, 0.999
"""Adam's averages."""


@dataclass
class State(Search):
    """Besides the iterate: Adam's moments, and the threshold [S] below which a change is dropped."""

    first: Tensor
    second: Tensor
    threshold: Tensor


@attack_parameters
class SigmaZero(MinimalNormAttack[State]):
    """Descend on the logit difference plus a smooth share of changed features; drop what changed too little.

    The share is mean(d² / (d² + sigma)) over the features' changes d. The threshold of what is dropped rises
    while the point fools and falls while it does not.

    Source: Cinà, Villani, Pintor, Schönherr, Biggio, Pelillo 2024, "σ-zero: Gradient-based Optimization of
    ℓ0-norm Adversarial Examples", algorithm 1, with Adam and a cosine schedule as its authors run it.
    L0; untargeted and targeted.
    Cost: ``steps`` forwards and backwards, fewer once a success lies in the ball, unless the audit seeks
    smallest distances.

    Args:
        steps: evaluations.
        rate: Adam's first step, as a fraction of the domain's width; a cosine takes it to a tenth.
        sigma: sharpness of the smooth count; smaller is sharper.
        first_threshold: changes below it are dropped at the start.
        threshold_rate: how much the threshold moves in a step, as a multiple of the step's rate.
    """

    id = "sigma-zero"
    norms = frozenset({Norm.L0})

    steps: Count = 1000
    rate: Positive = 1.0
    sigma: Positive = 0.001
    first_threshold: Fraction = 0.3
    threshold_rate: Positive = 0.01

    def init(self, problem: Problem) -> State:
        zeros = torch.zeros_like(problem.x)
        threshold = problem.full(self.first_threshold, torch.float64)
        return State(problem.x, problem.full(0).long(), Smallest.none(problem), zeros, zeros, threshold)

    def query(self, problem: Problem, state: State) -> Request:
        return Gradient(state.point, loss=loss_named("margin"))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A step of Adam along the normalised gradient, then the threshold."""
        assert answer.gradient is not None
        assert answer.loss is not None
        x, count = problem.x, state.step.double() + 1
        delta = state.point - x
        sparsity = 2 * self.sigma * delta / (delta.square() + self.sigma).square() / delta[0].numel()
        missing = answer.gradient * per_slot((answer.loss <= 0).to(x.dtype), x)
        slope = sparsity - missing
        slope = slope / per_slot(slope.flatten(1).abs().amax(1).clamp_min(1e-12), x)
        first = state.first.lerp(slope, 1 - BETA_1)
        second = state.second * BETA_2 + slope.square() * (1 - BETA_2)
        rate = cosine(state.step, self.steps, self.rate, self.rate / 10)
        before = cosine((state.step - 1).clamp_min(0), self.steps, self.rate, self.rate / 10)
        length = per_slot((before / (1 - BETA_1**count)).to(x.dtype), x)
        scale = second.sqrt() * per_slot((1 - BETA_2**count).rsqrt().to(x.dtype), x) + 1e-8
        moved = problem.clip(state.point - first / scale * length)
        change = torch.where(answer.fooled, self.threshold_rate, -self.threshold_rate) * rate
        threshold = (state.threshold + change).clamp(0.0, 1.0)
        kept = (moved - x).abs() >= per_slot(threshold.to(x.dtype), x)
        smallest = state.smallest.seen(problem, answer)
        return State(torch.where(kept, moved, x), state.step + 1, smallest, first, second, threshold)
