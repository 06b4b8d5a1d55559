"""Carlini & Wagner's L-infinity attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.whitebox.descent import Adam, to_box, to_free
from robaudit.attacks.whitebox.penalty import Halvings, Margins, PenaltyAttack, Seen
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["CWLInf"]

INSET = 1 - 2e-3
"""Starts features at the box's ends a thousandth inside, where the tanh is not flat."""
TRIES = 5
"""Values of c in one round, each twice the one before and for a fifth of the round's steps."""
FINEST = 0.99
"""The threshold's factor at which a failing round is the last."""


@dataclass
class Search(Slots):
    """One round at the threshold ``tau``.

    ``kept`` are the free variables that won the last round, at the distance ``reach``.
    """

    free: Tensor
    kept: Tensor
    adam: Adam
    c: Tensor
    tau: Tensor
    reach: Tensor
    factor: Tensor
    step: Tensor
    round: Tensor


@attack_parameters
class CWLInf(PenaltyAttack[Search]):
    """Minimise c max(κ - margin, 0) + Σ max(|δ| - τ, 0) by Adam in tanh variables, and lower τ round by round.

    Source: Carlini & Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", section VI-C. A round
    is won once a point fools within τ; then τ falls to ``decrease`` of that point's distance, and the next round
    starts there. After a round lost it falls by less, to the square root of the factor, until that is above 0.99,
    where the paper stops at once; as many rounds may be lost before the first success, and go on from each other.
    c counts in units of 1/|∂margin/∂x|∞ where the round begins and doubles four times in it, and no step is longer
    than a quarter of τ. At the end the way between the sample and the nearest point found is halved a few times.
    L-infinity; untargeted and targeted.
    Cost: at most ``rounds`` x ``steps`` + ``halvings`` forwards and backwards for each confidence, in practice
    a small part; a success in the ball ends it, unless the audit seeks smallest distances.

    Args:
        steps: of a round, at most.
        rounds: at most.
        decrease: factor of τ after a round that was won.
        first_c: the first c of a round.
        learning_rate: of Adam.
        confidence: κ, how far the reached class must lead; of several, tried in rising order, the largest
            that is reached in the ball counts, and where smallest distances are sought the first alone.
        halvings: evaluations spent on the way to the nearest point.
    """

    id = "cw-linf"
    norms = frozenset({Norm.LINF})

    steps: Count = 1000
    rounds: Count = 100
    decrease: Fraction = 0.9
    first_c: Positive = 0.25
    learning_rate: Positive = 0.01
    confidence: Margins = (0.0,)
    halvings: Halvings = 10

    @property
    def rungs(self) -> tuple[float, ...]:
        return self.confidence

    @property
    def halved(self) -> int:
        return self.halvings

    def descents(self) -> int:
        """One in each round."""
        return self.rounds * self.steps

    def start(self, problem: Problem) -> Search:
        """At the sample, with a threshold that holds everywhere."""
        free, zero = to_free(problem.x, INSET), torch.zeros_like(problem.label)
        one = problem.full(1)
        return Search(free, free, Adam.fresh(problem), one, one, one * torch.inf, one * self.decrease, zero, zero)

    def point(self, problem: Problem, search: Search) -> Tensor:
        return to_box(search.free)

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """A step of Adam; a round that is won or lost sets the next threshold."""
        point, tau = seen.answer.points, search.tau
        delta = point - problem.x
        outside = delta.sign() * (delta.abs() > per_slot(tau, delta))
        assert seen.answer.gradient is not None
        steepest = distance(Norm.LINF, seen.answer.gradient).to(tau.dtype)
        never = search.reach.isinf()
        begins = (search.step == 0) & ((search.round == 0) | ~never)
        c = torch.where(begins, self.first_c / steepest.clamp_min(1e-30), search.c)
        slope = (outside + seen.pull * per_slot(c, delta)) * (2 * point * (1 - point))
        move, adam = search.adam.moved(slope, (tau / 2).clamp_max(self.learning_rate))
        size = seen.size.to(tau.dtype)
        won = seen.reached & (size <= tau)
        lost = ~won & (search.step + 1 >= self.steps)
        ended = won | lost
        raised = (search.step + 1) % max(self.steps // TRIES, 1) == 0
        reach = torch.where(won, size, search.reach)
        factor = torch.where(lost, search.factor.sqrt(), search.factor)
        factor = torch.where(won & never, self.decrease, factor)
        on = search.free - move
        # Where no round was won yet, the next one goes on from here instead of trying the same again
        kept = select(won, search.free, select(never, on, search.kept))
        return Search(
            free=select(ended, kept, on),
            kept=kept,
            adam=adam.cleared((ended | raised) & ~(never & ~won)),
            c=torch.where(raised, c * 2, c),
            tau=torch.where(ended, factor * reach, tau),
            reach=reach,
            factor=factor,
            step=torch.where(ended, 0, search.step + 1),
            round=search.round + ended,
        )

    def over(self, problem: Problem, search: Search) -> Tensor:
        """After the last round, or after a few that were lost."""
        return (search.round >= self.rounds) | (search.factor > FINEST)
