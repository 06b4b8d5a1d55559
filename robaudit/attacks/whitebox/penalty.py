"""What the penalty attacks share: the descent's frame, and the ladder of confidences.

A penalty attack minimises distance + c * hinge(margin), and looks for the c of each slot that gives the nearest
fooling point; logits of unusual size are scaled first, so that the values of c tried suit them. Its subclass is the
descent alone; :class:`PenaltyAttack` keeps what was found, halves the way between the sample and the nearest point at
the end, and climbs the ladder.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.smallest import Smallest
from robaudit.attacks.units import followed, unit_of
from robaudit.threat.losses import Loss, margin
from robaudit.threat.model import Access
from robaudit.threat.norms import distance, none_of, per_slot, select

__all__ = [
    "PROGRESS",
    "Halvings",
    "Ladder",
    "Margins",
    "PenaltyAttack",
    "Seen",
    "merge",
]

PROGRESS = 0.9999
"""A descent goes on while a tenth of its steps lowers the objective below this share (the authors' code)."""

Halvings = Annotated[int, Field(ge=0)]
"""Evaluations that halve the way between the sample and the nearest fooling point, after the search."""
Margins = Annotated[
    tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, int | float) else value),
    AfterValidator(lambda value: tuple(sorted(value))),
    Field(min_length=1),
]
"""One margin or several, at least 0, in rising order."""


def merge(mask: Tensor, yes: Any, no: Any) -> Any:
    """Slot by slot one structure of :class:`Slots` or another."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(yes):
        mine, theirs = getattr(yes, field.name), getattr(no, field.name)
        if isinstance(mine, Slots):
            changes[field.name] = merge(mask, mine, theirs)
        elif isinstance(mine, Tensor):
            changes[field.name] = select(mask, mine, theirs)
    return dataclasses.replace(yes, **changes)


@dataclass(frozen=True)
class Seen:
    """What a descent learns of the point it stood at.

    Args:
        answer: with the gradient of the loss.
        reached: [S] bool, it fools by the confidence that is sought.
        lacking: [S], how much margin is missing; 0 where it is reached. Its gradient is ``pull``.
        pull: [S, *shape].
        size: [S] float64 distance from the sample.
        nearest: [S] float64 distance of the nearest point found, this one included.
        rescaled: [S] bool, ``lacking`` is not comparable with the values before.
    """

    answer: Answer
    reached: Tensor
    lacking: Tensor
    pull: Tensor
    size: Tensor
    nearest: Tensor
    rescaled: Tensor


SearchT = TypeVar("SearchT", bound=Slots)


@dataclass
class Ladder(Slots, Generic[SearchT]):
    """One slot's search on a rung.

    Args:
        search: the descent's own state.
        smallest: the nearest point of this rung's confidence.
        held: what the rung below found in the ball.
        rung: position in the ladder.
        stage: 0: searching; then the number of the halving under way; -1: finished.
        unit: what the logits count beside the distance, NaN before the first answer tells.
        low: share of the way to ``smallest`` that is known to fail.
    """

    search: SearchT
    smallest: Smallest
    held: Smallest
    rung: Tensor
    stage: Tensor
    low: Tensor
    unit: Tensor


class PenaltyAttack(SlotAttack[Ladder[SearchT]]):
    """The frame of the penalty attacks; a subclass describes one descent."""

    access = Access.WHITE_BOX
    stop = Stop.RUN_ON

    @property
    def rungs(self) -> tuple[float, ...]:
        """Margins sought, in rising order; any, unless an attack with such a parameter says which."""
        return (-math.inf,)

    @property
    def halved(self) -> int:
        """How often the way to the nearest point is halved in the end."""
        return 0

    @abstractmethod
    def descents(self) -> int:
        """Most evaluations of the descents of one rung."""

    def most(self, task: Task) -> Cost:
        """The descents of each rung, and the halvings after them."""
        return Cost.gradients(len(self.rungs) * (self.descents() + self.halved))

    def objective(self) -> Loss:
        """The loss whose gradient is asked."""
        return margin

    @abstractmethod
    def start(self, problem: Problem) -> SearchT:
        """The descent at its beginning."""

    @abstractmethod
    def point(self, problem: Problem, search: SearchT) -> Tensor:
        """Where the descent stands."""

    @abstractmethod
    def advance(self, problem: Problem, search: SearchT, seen: Seen) -> SearchT:
        """One step of it."""

    @abstractmethod
    def over(self, problem: Problem, search: SearchT) -> Tensor:
        """[S] bool: nothing left to try."""

    def keep(self, problem: Problem, smallest: Smallest, seen: Seen) -> Smallest:
        """The nearest point, with the present one taken into account."""
        return smallest.seen(problem, dataclasses.replace(seen.answer, fooled=seen.reached))

    def init(self, problem: Problem) -> Ladder[SearchT]:
        """The lowest rung."""
        zero, none = torch.zeros_like(problem.label), Smallest.none(problem)
        low, unknown = problem.full(0, torch.float64), problem.full(math.nan)
        return Ladder(self.start(problem), none, none, zero, zero, low, unknown)

    def query(self, problem: Problem, state: Ladder[SearchT]) -> Request:
        """The gradient where the descent stands, or at half of the way that is left."""
        point = self.point(problem, state.search)
        if self.halved:
            share = per_slot(((1 + state.low) / 2).to(point.dtype), point)
            way = problem.x + (state.smallest.point - problem.x) * share
            point = select(state.stage > 0, way, point)
        return Gradient(problem.clip(point), loss=self.objective())

    def update(self, problem: Problem, state: Ladder[SearchT], answer: Answer) -> Ladder[SearchT]:
        """Keep what fools, step, and go on to the next stage or rung where this one is over."""
        unit = followed(state.unit, _unit(answer))
        rescaled, state.unit = unit != state.unit, unit
        seen = self._seen(problem, state, answer)
        smallest = self.keep(problem, state.smallest, seen)
        seen = dataclasses.replace(seen, nearest=smallest.distance, rescaled=rescaled)
        search = self.advance(problem, state.search, seen)
        halving = state.stage > 0
        half = (1 + state.low) / 2
        low = torch.where(halving, torch.where(seen.reached, state.low / half, half), state.low)
        settled = problem.settled(smallest.distance)
        halvings = self.halved
        begin = ~halving & self.over(problem, search)
        stage = torch.where(begin, 1, torch.where(halving, state.stage + 1, 0))
        stage = torch.where(settled | ~smallest.found & begin | (stage > halvings), -1, stage)
        state = Ladder(search, smallest, state.held, state.rung, stage, low, state.unit)
        return self._climbed(problem, state, settled) if len(self.rungs) > 1 else state

    def _seen(self, problem: Problem, state: Ladder[SearchT], answer: Answer) -> Seen:
        assert answer.gradient is not None
        assert answer.loss is not None
        scaled = answer.gradient * per_slot(state.unit, answer.gradient)
        answer = dataclasses.replace(answer, loss=answer.loss * state.unit, gradient=scaled)
        assert answer.gradient is not None
        assert answer.loss is not None
        sought = torch.tensor(self.rungs, dtype=answer.loss.dtype, device=answer.loss.device)[state.rung] * state.unit
        reached = answer.fooled & (answer.loss >= sought)
        lacking = torch.where(reached, 0, (sought - answer.loss).clamp_min(0))
        pull = -answer.gradient * per_slot((~reached).to(answer.gradient.dtype), answer.gradient)
        size = distance(problem.norm, answer.points - problem.x)
        return Seen(answer, reached, lacking, pull, size, state.smallest.distance, torch.zeros_like(reached))

    def _climbed(self, problem: Problem, state: Ladder[SearchT], settled: Tensor) -> Ladder[SearchT]:
        """A success in the ball is held, and the next rung begun."""
        up = settled & (state.rung < len(self.rungs) - 1)
        if none_of(up):
            return state
        higher = self.init(problem)
        higher.held, higher.rung = state.smallest, state.rung + 1
        found: Ladder[SearchT] = merge(up, higher, state)
        return found

    def done(self, problem: Problem, state: Ladder[SearchT]) -> Tensor:
        """After the last halving of the last rung."""
        return state.stage < 0

    def best(self, problem: Problem, state: Ladder[SearchT]) -> tuple[Tensor, Tensor]:
        """The most confident point in the ball, or else the nearest one."""
        below = state.held.found & ~problem.settled(state.smallest.distance)
        point = select(below, state.held.point, state.smallest.point)
        return point, ~(below | state.smallest.found)


def _unit(answer: Answer) -> Tensor:
    """[S] at the last of the points that a slot asked about, which is the one with a gradient."""
    assert answer.logits is not None
    assert answer.gradient is not None
    one = answer if answer.logits.dim() == 2 else answer.at(-1)
    assert one.logits is not None
    assert one.gradient is not None
    return unit_of(one.logits, one.gradient)
