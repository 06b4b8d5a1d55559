"""What minimal-norm attacks share: when they end, what they return, and how the last evaluations polish it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.requests import Answer
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.units import least_gap
from robaudit.threat.hyperplanes import nearest_on_hyperplane
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, distance, none_of, select

__all__ = ["MinimalNormAttack", "Search"]

OVERSHOOT = 1.0003
"""How much further than the linearised boundary a polished point lies, so that rounding does not deny it."""
LEAST_GAIN = 1e-4
"""Share by which a point on the linearised boundary must be nearer than the best one to be tried: where the boundary is
flat, polishing finds the same point again, and rounding would decide which of the two is nearer."""
SHRINK = 0.98
"""Where the linearised boundary is no nearer than the best point, this share of its perturbation is tried."""


@dataclass
class Search(Slots):
    """One slot's search: the point to evaluate next, evaluations so far, and the nearest fooling point."""

    point: Tensor
    step: Tensor
    smallest: Smallest


SearchT = TypeVar("SearchT", bound=Search)


class MinimalNormAttack(SlotAttack[SearchT]):
    """An iteration for ``steps`` evaluations; the last ``polish`` of them, where set, start from its nearest point.

    Polishing needs the gradient of the logit difference in these evaluations.
    """

    access = Access.WHITE_BOX
    stop = Stop.RUN_ON
    steps: int
    polish: int = 0
    polish_share: ClassVar[int] = 10
    """At most one in so many evaluations polishes."""

    def main_steps(self, problem: Problem) -> int:
        """Evaluations before polishing; all of them in L0, which has no linearised boundary to gain from."""
        if problem.norm is Norm.L0:
            return self.steps
        polish = min(self.polish, self.steps // self.polish_share)
        return self.steps - polish if polish > 1 else self.steps  # the first looks at the nearest point again

    def following(self, problem: Problem, state: SearchT, answer: Answer, smallest: Smallest, moved: Tensor) -> Tensor:
        """[S, *shape] points to evaluate next.

        Args:
            problem: the slots.
            state: before the answer.
            answer: to the last query.
            smallest: with the answer taken into account.
            moved: where the attack's own iteration goes on.
        """
        main = self.main_steps(problem)
        polishing = state.step >= main
        begins = (state.step + 1 == main) & smallest.found & (main < self.steps)
        moved = select(begins, smallest.point, moved)
        if none_of(polishing):
            return moved
        return select(polishing, _polished(problem, answer, smallest), moved)

    def most(self, task: Task) -> Cost:
        """A gradient an evaluation."""
        return Cost.gradients(self.steps)

    def done(self, problem: Problem, state: SearchT) -> Tensor:
        """After the last evaluation, or where a success in the ball is enough."""
        return (state.step >= self.steps) | problem.settled(state.smallest.distance)

    def best(self, problem: Problem, state: SearchT) -> tuple[Tensor, Tensor]:
        """The nearest fooling point."""
        return state.smallest.point, ~state.smallest.found


def _polished(problem: Problem, answer: Answer, smallest: Smallest) -> Tensor:
    """From a fooling point to the nearest point of the boundary linearised there; from another halfway back.

    Where nothing has fooled yet, always to the linearised boundary, as DeepFool does.
    """
    assert answer.gradient is not None
    assert answer.loss is not None
    x = problem.x
    back = (answer.gradient * (x - answer.points)).flatten(1).sum(1)
    assert answer.logits is not None
    value = answer.loss.double() - least_gap(answer.logits) + back.double()
    near = nearest_on_hyperplane(problem.norm, x, answer.gradient, value, problem.fixed)
    near = problem.clip(x + (near - x) * OVERSHOOT)
    useless = distance(problem.norm, near - x) >= smallest.distance * (1 - LEAST_GAIN)
    near = select(useless, x + (smallest.point - x) * SHRINK, near)
    return select(answer.fooled | ~smallest.found, near, (answer.points + smallest.point) / 2)
