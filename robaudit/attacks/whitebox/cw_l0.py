"""Carlini & Wagner's L0 attack."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, Slots
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.whitebox.descent import Adam, to_box, to_free
from robaudit.attacks.whitebox.penalty import Margins, PenaltyAttack, Seen
from robaudit.threat.norms import Norm, none_of, per_slot, select

__all__ = ["CWL0"]

TRIES = 10
"""Values of c in one round, each ten times the one before and for a tenth of the round's steps."""
BACK = 100
"""How far below the c that won a round the next one begins."""


@dataclass
class Search(Slots):
    """One round of descent over the features that are still ``free_to_change``.

    ``kept``, ``changed`` and ``weight`` are the free variables, the changed features and their importance where
    the last round was won; ``begin`` is the first c of a round, ``freeze`` the number of features to give up next.
    """

    free: Tensor
    allowed: Tensor
    adam: Adam
    c: Tensor
    begin: Tensor
    kept: Tensor
    changed: Tensor
    weight: Tensor
    freeze: Tensor
    step: Tensor
    round: Tensor


@attack_parameters
class CWL0(PenaltyAttack[Search]):
    """Minimise |δ|² + c max(κ - margin, 0) over ever fewer features, giving up those that matter least.

    Source: Carlini & Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", section VI-B. A round of
    Adam in tanh variables is won at the first point that fools; then features are frozen at the sample's values,
    lowest |δ| |∂margin/∂x| first, and the next round starts from there. Where the paper freezes few at a time and
    stops at the first round lost, half of the features are given up at once, and after a round lost the last
    point is taken up again with half as many, down to one. Within a round c grows by tens.
    L0; untargeted and targeted.
    Cost: at most ``rounds`` x ``steps`` forwards and backwards for each confidence; a success in the ball ends it,
    unless the audit seeks smallest distances.

    Args:
        steps: of a round, at most.
        rounds: at most.
        first_c: the first c.
        learning_rate: of Adam.
        confidence: κ, how far the reached class must lead; of several, tried in rising order, the largest
            that is reached in the ball counts, and where smallest distances are sought the first alone.
    """

    id = "cw-l0"
    norms = frozenset({Norm.L0})

    steps: Count = 1000
    rounds: Count = 200
    first_c: Positive = 1e-3
    learning_rate: Positive = 0.01
    confidence: Margins = (0.0,)

    @property
    def rungs(self) -> tuple[float, ...]:
        return self.confidence

    def descents(self) -> int:
        """One in each round."""
        return self.rounds * self.steps

    def start(self, problem: Problem) -> Search:
        """At the sample, every feature free."""
        free, c, zero = to_free(problem.x), problem.full(self.first_c), torch.zeros_like(problem.label)
        every = torch.ones_like(problem.x, dtype=torch.bool)
        if problem.fixed is not None:
            every = ~problem.fixed
        nothing = torch.zeros_like(every)
        none = torch.zeros_like(problem.x)
        return Search(free, every, Adam.fresh(problem), c, c, free, nothing, none, zero - 1, zero, zero)

    def point(self, problem: Problem, search: Search) -> Tensor:
        """In the box, with frozen features exactly as in the sample."""
        return torch.where(search.allowed, to_box(search.free), problem.x)

    def advance(self, problem: Problem, search: Search, seen: Seen) -> Search:
        """A step of Adam; a round that is won or lost freezes features."""
        assert seen.answer.gradient is not None
        point = seen.answer.points
        delta = point - problem.x
        slope = (2 * delta + seen.pull * per_slot(search.c, delta)) * (2 * point * (1 - point))
        slope = slope.masked_fill(~search.allowed, 0.0)
        move, adam = search.adam.moved(slope, torch.full_like(search.c, self.learning_rate))
        won = seen.reached
        lost = ~won & (search.step + 1 >= self.steps)
        ended = won | lost
        raised = (search.step + 1) % max(self.steps // TRIES, 1) == 0
        begin = torch.where(won, search.c / BACK, search.begin)
        search = Search(
            free=search.free - move,
            allowed=search.allowed,
            adam=adam.cleared(ended | raised),
            c=torch.where(ended, begin, torch.where(raised, search.c * 10, search.c)),
            begin=begin,
            kept=select(won, search.free, search.kept),
            changed=select(won, delta != 0, search.changed),
            weight=select(won, (delta * seen.answer.gradient).abs(), search.weight),
            freeze=torch.where(lost, search.freeze // 2, search.freeze),
            step=torch.where(ended, 0, search.step + 1),
            round=search.round + ended,
        )
        return search if none_of(ended) else _frozen(search, ended)

    def over(self, problem: Problem, search: Search) -> Tensor:
        """After the last round, or where not even one feature can be given up."""
        return (search.round >= self.rounds) | (search.freeze == 0) | (search.round > 0) & (search.freeze < 0)


def _frozen(search: Search, ended: Tensor) -> Search:
    """Where a round ended: back to the last round won, less its least important features."""
    changed = search.changed.flatten(1)
    half = changed.sum(1) // 2
    first = search.freeze < 0
    search.freeze = torch.where(
        ended & changed.any(1), torch.where(first, half, search.freeze.clamp_max(half)), search.freeze
    )
    rank = torch.where(changed, search.weight.flatten(1), torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    left = (changed & (rank >= search.freeze[:, None])).reshape(search.changed.shape)
    search.allowed = select(ended, left, search.allowed)
    search.free = select(ended, search.kept, search.free)
    return search
