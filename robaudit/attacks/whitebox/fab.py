"""Fast Adaptive Boundary: project onto the linearised boundary with a bias towards the sample."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.boundaries import beyond_rounding, least_step, nearest_boundary, rivals
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Answer, Jacobian, Request
from robaudit.attacks.smallest import Smallest
from robaudit.threat.hyperplanes import dual_size
from robaudit.threat.losses import margin
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm, distance, per_slot, select

__all__ = ["FAB", "FABT"]

SAMPLE, SLOPE, TRIAL, SEARCH = range(4)
"""What the point is asked for: the sample's logits; a boundary; whether a step fools; the final search."""


@dataclass
class State(Slots):
    """One slot's search.

    ``low`` and ``high`` are shares of the way to ``end`` that do not fool and fool, ``low_margin`` and
    ``high_margin`` the margins there; ``end`` is the nearest fooling point of the iteration. ``base`` is the class on
    this side of the boundaries: the label, or in a targeted audit the likeliest besides the goal where last asked.
    """

    point: Tensor
    base: Tensor
    phase: Tensor
    step: Tensor
    smallest: Smallest
    end: Tensor
    end_margin: Tensor
    low: Tensor
    low_margin: Tensor
    high: Tensor
    high_margin: Tensor
    searched: Tensor


class _FAB(SlotAttack[State]):
    """The iteration that both share; a subclass names its parameters and its classes."""

    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})
    stop = Stop.RUN_ON

    steps: int
    restarts: int
    alpha_max: float
    eta: float
    beta: float
    search: int

    @abstractmethod
    def classes(self, problem: Problem) -> Tensor:
        """[S, C] whose boundaries are looked at."""

    def init(self, problem: Problem) -> State:
        """Ask for the sample's own margin first."""
        zero, low = problem.full(0).long(), problem.full(0.0)
        return State(
            point=problem.x,
            base=_this_side(problem, problem.clean),
            phase=torch.full_like(zero, SAMPLE),
            step=zero,
            smallest=Smallest.none(problem),
            end=problem.x,
            end_margin=low,
            low=low,
            low_margin=low,
            high=problem.full(1.0),
            high_margin=low,
            searched=zero,
        )

    def query(self, problem: Problem, state: State) -> Request:
        """Boundaries where the next step starts, else logits; restart 0 starts at the sample."""
        slopes = (state.phase == SLOPE) | ((state.phase == SAMPLE) & (problem.restart == 0))
        return Jacobian(state.point, classes=self.classes(problem), base=state.base, slopes=slopes)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        assert answer.logits is not None
        sample, trial, search = (state.phase == p for p in (SAMPLE, TRIAL, SEARCH))
        fooled = answer.fooled & (trial | search)
        old = state.smallest
        smallest = old.seen(problem, dataclasses.replace(answer, fooled=fooled))
        value = margin(answer.logits, problem.label, problem.goal)
        end_margin = torch.where(smallest.distance < old.distance, value, state.end_margin)
        # From a start or a contracted point, a step
        stepping = (state.phase == SLOPE) | (sample & (problem.restart == 0))
        point = select(stepping, self._step(problem, answer), state.point)
        point = select(sample & (problem.restart > 0), self._start(problem), point)
        # A step that fools is taken back a little; the last one is followed by the final search
        point = select(trial & fooled, problem.x + (state.point - problem.x) * self.beta, point)
        ending = trial & (state.step >= self.steps)
        state = self._narrowed(state, fooled, value, search)
        state = dataclasses.replace(
            state,
            base=_this_side(problem, answer.logits),
            phase=torch.where(stepping, TRIAL, torch.where(search | ending, SEARCH, SLOPE)),
            step=state.step + stepping,
            smallest=smallest,
            end=select(search, state.end, smallest.point),
            end_margin=end_margin,
            low_margin=torch.where(sample, value, state.low_margin),
            high_margin=torch.where(search, state.high_margin, end_margin),
            searched=state.searched + search,
        )
        return dataclasses.replace(state, point=select(search | ending, self._between(problem, state), point))

    def _step(self, problem: Problem, answer: Answer) -> Tensor:
        """Both the iterate and the sample are projected, overshot by eta, and mixed (eq. 7-9)."""
        point, x = answer.points, problem.x
        boundary = nearest_boundary(problem, answer)
        # A slot on the boundary would stay there
        past = least_step(problem) * dual_size(problem.norm, boundary.slope.flatten(1))
        boundary = dataclasses.replace(boundary, value=boundary.value - past)
        from_point, from_x = boundary.nearest(problem, point) - point, boundary.nearest(problem, x) - x
        far, near = distance(problem.norm, from_point), distance(problem.norm, from_x)
        share = (far / (far + near).clamp_min(1e-30)).clamp_max(self.alpha_max)
        alpha = per_slot(share.to(point.dtype), point)
        return problem.clip((1 - alpha) * (point + self.eta * from_point) + alpha * (x + self.eta * from_x))

    def _start(self, problem: Problem) -> Tensor:
        """A random point at half the radius (section 2.4)."""
        if problem.norm is Norm.LINF:
            noise = problem.draws.uniform("start", 0, problem.shape).to(problem.x.dtype) * 2 - 1
        else:
            noise = problem.draws.normal("start", 0, problem.shape).to(problem.x.dtype)
        length = problem.eps.double() / (2 * distance(problem.norm, noise).clamp_min(1e-30))
        return problem.clip(problem.x + noise * per_slot(length.to(noise.dtype), noise))

    def _narrowed(self, state: State, fooled: Tensor, value: Tensor, search: Tensor) -> State:
        """The final search's interval after an answer."""
        asked = self._share(state)
        up, down = search & ~fooled, search & fooled
        return dataclasses.replace(
            state,
            low=torch.where(up, asked, state.low),
            low_margin=torch.where(up, value, state.low_margin),
            high=torch.where(down, asked, state.high),
            high_margin=torch.where(down, value, state.high_margin),
        )

    def _share(self, state: State) -> Tensor:
        """[S] just past where the margin would be zero if it were linear between the interval's ends (section 2.5)."""
        rise = (state.high_margin - state.low_margin).clamp_min(1e-30)
        zero = (-state.low_margin / rise).clamp(0.0, 1.0)
        share = state.low + (state.high - state.low) * zero + beyond_rounding(state.end.dtype)
        return torch.minimum(share, state.high)

    def _between(self, problem: Problem, state: State) -> Tensor:
        return problem.x + per_slot(self._share(state), state.end) * (state.end - problem.x)

    def done(self, problem: Problem, state: State) -> Tensor:
        """After the final search, where there is nothing to search back from, or where a success is enough."""
        over = (state.searched >= self.search) | ~state.smallest.found
        return ((state.phase == SEARCH) & over) | problem.settled(state.smallest.distance)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found


def _this_side(problem: Problem, logits: Tensor) -> Tensor:
    """[S] class whose boundary to the goal is to be crossed: where another lies between, not the label's."""
    others = logits.scatter(1, problem.goal.clamp_min(0)[:, None], float("-inf"))
    return torch.where(problem.goal >= 0, others.argmax(1), problem.label)


@attack_parameters
class FABT(_FAB):
    """Walk along the boundary to one class, drawn towards the sample: FAB's targeted version, one unit a class.

    The iterate and the sample are projected onto the linearised boundary within the box, overshot, and mixed; a point
    that fools is taken back towards the sample. At the end the way back from the nearest one is searched.
    Source: Croce & Hein 2020, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack",
    algorithm 1; targets as in Croce & Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble of
    Diverse Parameter-free Attacks", section 4. Any wrong class counts in an untargeted audit; a targeted one walks
    along the boundary between its class and the likeliest other one, as the label's may lie behind a third class.
    A minimal-norm attack; L-infinity, L2 and L1; untargeted and targeted.
    Cost: for each class and restart up to 2 x ``steps`` + ``search`` + 1 forwards and ``steps`` backwards, fewer
    once a success lies in the ball, unless the audit seeks smallest distances.

    Args:
        steps: iterations of one unit.
        targets: classes tried for each sample, by falling clean logit.
        restarts: starts of each class; the first is the sample, others are random at half of the audit's radius.
        alpha_max: most weight of the sample's own projection.
        eta: step's length, as a multiple of the way to the boundary.
        beta: share of the way from the sample at which the search goes on after a success.
        search: evaluations of the final search.
    """

    id = "fab-t"

    steps: Count = 100
    targets: Count = 9
    restarts: Count = 1
    alpha_max: Fraction = 0.1
    eta: Positive = 1.05
    beta: Fraction = 0.9
    search: Annotated[int, Field(ge=0)] = 3

    def most(self, task: Task) -> Cost:
        """The start, two forwards and a backward an iteration, and the final search."""
        return Cost(2 * self.steps + self.search + 1, self.steps)

    @property
    def unit_aims(self) -> int:
        return self.targets

    def classes(self, problem: Problem) -> Tensor:
        return problem.target_class[:, None]


@attack_parameters
class FAB(_FAB):
    """Walk along the nearest class boundary, drawn towards the sample: FAB with all classes at once.

    As ``fab-t``, but each step goes to the nearest of the boundaries to the classes with the largest clean logits.
    Source: Croce & Hein 2020, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack",
    algorithm 1. A minimal-norm attack; L-infinity, L2 and L1; untargeted.
    Cost: for each restart up to 2 x ``steps`` + ``search`` + 1 forwards and ``steps`` x ``candidates`` backwards.

    Args:
        steps: iterations of one restart.
        restarts: starts; the first is the sample, others are random at half of the audit's radius.
        candidates: classes whose boundaries are looked at.
        alpha_max: most weight of the sample's own projection.
        eta: step's length, as a multiple of the way to the boundary.
        beta: share of the way from the sample at which the search goes on after a success.
        search: evaluations of the final search.
    """

    id = "fab"
    goals = frozenset({Goal.UNTARGETED})

    steps: Count = 100
    restarts: Count = 1
    candidates: Count = 10
    alpha_max: Fraction = 0.1
    eta: Positive = 1.05
    beta: Fraction = 0.9
    search: Annotated[int, Field(ge=0)] = 3

    def most(self, task: Task) -> Cost:
        """The start, two forwards and a backward for every candidate an iteration, and the final search."""
        return Cost(2 * self.steps + self.search + 1, self.steps * min(self.candidates, task.classes - 1))

    def classes(self, problem: Problem) -> Tensor:
        """The likeliest besides the label."""
        return rivals(problem, self.candidates)
