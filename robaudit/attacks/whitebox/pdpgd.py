"""Primal-dual proximal gradient descent in every norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.minimal import MinimalNormAttack, Search
from robaudit.attacks.parameters import Count, Fraction, Natural, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.units import followed, unit_of
from robaudit.threat.losses import loss_named
from robaudit.threat.norms import Norm, distance, per_slot, select
from robaudit.threat.proximal import proximal, proximal_two_thirds

__all__ = ["PDPGD"]

BETA_1, BETA_2 = 0.9, 0.999
"""Adam's averages."""
INNER_STEPS, INNER_CHANGE = 5, 0.01
"""Most proximal steps within Adam's metric, and the relative change that ends them."""
LEAST_RATIO = 1e-6
"""Of the two multipliers, either way."""


@dataclass
class State(Search):
    """Besides the iterate: Adam's moments and the dual variable.

    ``dual`` is the logarithm of the misclassification's multiplier over the norm's, ``share`` a moving average
    of its share of both; ``unit`` is what the logits count, as the sample's own tell.
    """

    first: Tensor
    second: Tensor
    dual: Tensor
    share: Tensor
    unit: Tensor


@attack_parameters
class PDPGD(MinimalNormAttack[State]):
    """Descend on the misclassification by Adam and on the norm by its proximal operator; learn their weights.

    The Lagrangian is share · softplus(logit difference) + (1 - share) · norm. The share rises while the point
    does not fool and falls while it does. Logits of unusual size are scaled first.

    Source: Matyasko & Chau 2021, "PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack", algorithm 1
    and section 3; the proximal step in Adam's metric after Melchior, Joseph, Moolekamp 2019, "Proximal Adam".
    L0 (by the proximal operator of the L2/3 quasi-norm), L1, L2, L-infinity; untargeted and targeted.
    Cost: ``steps`` forwards and backwards, fewer once a success lies in the ball, unless the audit seeks
    smallest distances.

    Args:
        steps: evaluations.
        primal_rate: Adam's first step, as a fraction of the domain's width.
        primal_decay: the last step as a multiple of the first.
        dual_rate: first step of the dual variable.
        dual_decay: its last step as a multiple of the first.
        dual_average: weight of the past in the moving average of the shares.
        first_ratio: the norm's multiplier over the misclassification's at the start.
        sparse: proximal operator in L0, ``two-thirds`` or ``l0``.
        polish: how many of the evaluations, the last ones, linearise the boundary at the nearest point found
            and go to its nearest point; 0 is the published algorithm. At most one in 100; none in L0.
    """

    id = "pdpgd"
    norms = frozenset(Norm)
    polish_share = 100  # its last steps, where the weights settle, gain more than polishing does

    steps: Count = 500
    primal_rate: Positive = 0.1
    primal_decay: Positive = 0.01
    dual_rate: Positive = 0.1
    dual_decay: Positive = 0.1
    dual_average: Fraction = 0.9
    first_ratio: Positive = 0.01
    sparse: Literal["two-thirds", "l0"] = "two-thirds"
    polish: Natural = 10

    def init(self, problem: Problem) -> State:
        """Start at the sample, with most of the weight on the misclassification."""
        zeros = torch.zeros_like(problem.x)
        dual = problem.full(-math.log(self.first_ratio), torch.float64)
        begin, none = problem.full(0).long(), Smallest.none(problem)
        return State(problem.x, begin, none, zeros, zeros, dual, dual.sigmoid(), problem.full(math.nan))

    def query(self, problem: Problem, state: State) -> Request:
        return Gradient(state.point, loss=loss_named("margin"))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """A step of Adam, the proximal steps in its metric, and a step of the dual variable."""
        assert answer.gradient is not None
        assert answer.loss is not None
        x, count, main = problem.x, state.step.double() + 1, self.main_steps(problem)
        assert answer.logits is not None
        unit = followed(state.unit, unit_of(answer.logits, answer.gradient))
        # softplus of the margin left, whose slope is its sigmoid
        slope = answer.gradient * per_slot(-unit * (-unit * answer.loss).sigmoid(), x)
        first = state.first.lerp(slope, 1 - BETA_1)
        second = state.second * BETA_2 + slope.square() * (1 - BETA_2)
        scale = second.sqrt() * per_slot((1 - BETA_2**count).rsqrt().to(x.dtype), x) + 1e-8
        rate = self.primal_rate * self.primal_decay ** (state.step.double() / main)
        step = per_slot((rate / (1 - BETA_1**count)).to(x.dtype), x)
        delta = problem.clip(state.point - first / scale * step) - x
        peak = scale.flatten(1).amax(1)
        weight = (1 - state.share) / state.share * rate / peak.double()
        delta = self._nearer(problem, delta, scale / per_slot(peak, x), weight)
        left = (1 - state.step.double() / max(main - 1, 1)) * (1 - self.dual_decay) + self.dual_decay
        bound = -math.log(LEAST_RATIO)
        dual = (state.dual - self.dual_rate * left * answer.loss.double().sign()).clamp(-bound, bound)
        share = state.share.lerp(dual.sigmoid(), 1 - self.dual_average)
        smallest = state.smallest.seen(problem, answer)
        point = self.following(problem, state, answer, smallest, problem.clip(x + delta))
        return State(point, state.step + 1, smallest, first, second, dual, share, unit)

    def _nearer(self, problem: Problem, delta: Tensor, metric: Tensor, weight: Tensor) -> Tensor:
        """The proximal operator of the norm in a diagonal metric at most 1, by proximal gradient steps."""
        weight = weight.to(delta.dtype)
        found, going = delta, torch.ones_like(problem.label, dtype=torch.bool)
        for _ in range(INNER_STEPS):
            pulled = found - metric * (found - delta)
            if problem.norm is Norm.L0 and self.sparse == "two-thirds":
                pulled = proximal_two_thirds(pulled, weight)
            else:
                pulled = proximal(problem.norm, pulled, weight)
            following = select(going, problem.clip(problem.x + pulled) - problem.x, found)
            change = distance(Norm.L2, following - found)
            going = going & (change > INNER_CHANGE * distance(Norm.L2, following))
            found = following
        return found
