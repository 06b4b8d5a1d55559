"""The ensemble behind ``standard``: a ladder of short searches that spends most where a flip is still likely."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, Fraction, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import momentum_step, steepest_step
from robaudit.attacks.whitebox.ladder import LADDER, Rung, Table, losses_of, table_of
from robaudit.threat.hyperplanes import dual_size
from robaudit.threat.losses import Loss, margin
from robaudit.threat.masked import floored
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, none_of, select

__all__ = ["Ensemble"]

FIRST_STEP = 2.0
"""Length of a search's first step as a multiple of ε; it falls with a power of the share of steps that is left."""
LONG = 30
"""A search of more steps has momentum, and its length falls with the cube; a shorter one has none, and the square."""
NEVER = float("-inf")
NARROWED = 0.4
"""Share of a wide search's steps after which its ball is that of the threat model."""


@dataclass
class State(Slots):
    """One slot's search.

    ``stage`` is its place on the ladder and ``step`` that within the stage; ``target_classes`` [S, T] are the target
    classes in the order in which this rung tries them, ``reached`` the best lead of each over the label, and
    ``steepness`` the dual norm of its last gradient. ``lead`` is the best margin so far,
    ``found`` that of this search, and ``low`` the worst that an untargeted search since the first came to.
    """

    point: Tensor
    old: Tensor
    stage: Tensor
    step: Tensor
    target_classes: Tensor
    reached: Tensor
    steepness: Tensor
    lead: Tensor
    found: Tensor
    low: Tensor


@attack_parameters
class Ensemble(SlotAttack[State]):
    """Short searches with several losses and targets, each sample's as many as its margin makes worth while.

    Every search takes steepest-ascent steps whose length falls from 2 ε to 0 (in L1 of the steepest features), a long
    one with momentum. The first maximise a soft margin: the cross-entropy at a temperature that each point's own
    logits set, sharp enough to weigh only the nearest rivals. Cheap searches come first; a rung whose ``within`` the
    sample's best margin has not come to is left out. Target classes are tried in the order of their boundaries'
    linearised distance from the best point known.
    Source: ours; the other losses are those of Croce & Hein 2020, the order of targets follows Melamed et al. 2024
    (MALT), section 3. Cost: 3 forward-equivalents a step, 27 for a sample that is far from falling.

    Args:
        targets: classes aimed at, the likeliest first.
        ladder: the searches in order.
        restarts: times that the ladder is climbed.
        features: that a step in L1 moves at least.
        changed: share of the features changed so far that a step in L1 moves at least: the sparser the point is, the
            sparser are the steps, as in APGD (Croce & Hein 2021, section 3.3, where it is 2/3).
        surface: searches from random starts, and a wide one that comes first, begin on the surface of their first
            ball, and not within ε. In L1 that moves many features at once, which wakes units that are off.
    """

    id = "ensemble"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    targets: Count = 9
    ladder: tuple[Rung, ...] = LADDER
    restarts: Count = 1
    features: Count = 6
    changed: Fraction = 0.2
    surface: bool = False

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        losses = losses_of(classes)
        return {rung.loss: losses[rung.loss] for rung in self.ladder}

    def _table(self, state: State) -> Table:
        return table_of(self.ladder, state.target_classes.shape[1], state.stage.device)

    def most(self, task: Task) -> Cost:
        """All searches of the ladder, each of its steps and one more."""
        aims = 1 if task.targeted else min(self.targets, task.classes - 1)
        searches = sum(
            rung.times * (min(aims, rung.targets or aims) if rung.loss == "targeted" else 1) * (rung.steps + 1)
            for rung in self.ladder
        )
        return Cost.gradients(searches)

    def init(self, problem: Problem) -> State:
        """Begin at the sample, or on the surface of a wide ball, with the likeliest classes for targets."""
        zero = torch.zeros_like(problem.label)
        point, wide = problem.x, self.ladder[0].wide
        if self.surface and wide > 1:
            point = self._start(problem, problem.full(wide), zero)
        count = min(self.targets, problem.classes - 1)
        others = floored(problem.clean).scatter(1, problem.label[:, None], float("-inf"))
        target_classes = others.topk(count, 1).indices
        if bool((problem.goal >= 0).any()):
            target_classes = problem.goal[:, None]
        return State(
            point=point,
            old=point,
            stage=zero,
            step=zero,
            target_classes=target_classes,
            reached=problem.x.new_full(target_classes.shape, NEVER),
            steepness=problem.x.new_ones(target_classes.shape),
            lead=problem.full(NEVER),
            found=problem.full(NEVER),
            low=problem.full(-NEVER),
        )

    def _target_class(self, state: State, place: Tensor) -> Tensor:
        """[S] class aimed at, or -1."""
        return torch.where(place >= 0, state.target_classes.gather(1, place.clamp_min(0)[:, None])[:, 0], -1)

    def _widths(self, state: State, table: Table, step: Tensor) -> Tensor | None:
        """[S] radius of the ball at a step, as a multiple of ε; None: ε for all of the ladder."""
        if all(rung.wide == 1.0 for rung in self.ladder):
            return None
        wide, share = table.wide[state.stage], step / (NARROWED * table.steps[state.stage])
        return torch.clamp_min(wide + (1 - wide) * share, 1.0)

    def query(self, problem: Problem, state: State) -> Request:
        table = self._table(state)
        widths = self._widths(state, table, state.step - 1)
        target_class = self._target_class(state, table.place[state.stage])
        target_class = torch.where(problem.goal >= 0, problem.goal, target_class)
        return Gradient(
            state.point,
            loss=tuple(losses_of(problem.classes).values()),
            choice=table.loss[state.stage],
            target_class=target_class,
            candidates=None if widths is None else self._inside(state, widths),
        )

    def _inside(self, state: State, widths: Tensor) -> Tensor:
        """[S] bool: the points are in the ball of the threat model."""
        inside = widths <= 1
        return inside if self.surface else inside | (state.step == 0)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Note the leads, step, and go on to the next search where this one has ended."""
        assert answer.gradient is not None
        table = self._table(state)
        before, now = (self._widths(state, table, state.step + shift) for shift in (-1, 0))
        inside = None if before is None else self._inside(state, before)
        self._note(problem, state, answer, table.place[state.stage], inside)
        ball = problem
        if now is not None:
            ball = dataclasses.replace(problem, eps=problem.eps * now.to(problem.eps.dtype), low=None, high=None)
        length = table.steps[state.stage]
        ended = state.step >= length
        share = 1 - state.step.to(state.point.dtype) / length
        step = steepest_step(problem, answer.gradient, state.point, 0.0, self.changed, self.features)
        short = length <= LONG
        far = FIRST_STEP * problem.eps * torch.where(short, share**2, share**3)
        moved = momentum_step(ball, state.point, state.old, step, far, (state.step == 0) | short)
        state.old, state.point = state.point, moved
        state.step = state.step + 1
        if not none_of(ended):
            self._next(problem, state, ended, table)
        return state

    def _note(
        self, problem: Problem, state: State, answer: Answer, place: Tensor, inside: Tensor | None = None
    ) -> None:
        assert answer.gradient is not None
        assert answer.logits is not None
        z = answer.logits
        lead = margin(z, problem.label, problem.goal)
        leads = z.gather(1, state.target_classes) - z.gather(1, problem.label[:, None])
        if inside is not None:
            lead = torch.where(inside, lead, NEVER)
            leads = torch.where(inside[:, None], leads, NEVER)
        state.found = torch.maximum(state.found, lead)
        state.lead = torch.maximum(state.lead, state.found)
        state.reached = torch.maximum(state.reached, leads)
        size = dual_size(problem.norm, answer.gradient.flatten(1)).to(z.dtype)
        at = place.clamp_min(0)[:, None]
        known = torch.where(place >= 0, size, state.steepness.gather(1, at)[:, 0])
        state.steepness = state.steepness.scatter(1, at, known[:, None])

    def _next(self, problem: Problem, state: State, ended: Tensor, table: Table) -> None:
        """Move the slots whose search has ended to the next one that their margin admits."""
        if ended.device.type == "cpu":  # on a GPU, to choose rows is to wait
            rows = ended.nonzero()[:, 0]
            part = state.take(rows)
            self._climb(problem.take(rows), part, table)
            for name, value in vars(part).items():
                setattr(state, name, getattr(state, name).index_copy(0, rows, value))
            return
        climbed = dataclasses.replace(state)
        self._climb(problem, climbed, table)
        for name, value in vars(climbed).items():
            setattr(state, name, select(ended, value, getattr(state, name)))

    def _climb(self, problem: Problem, state: State, table: Table) -> None:
        """All slots to their next search."""
        at = state.stage
        clean = margin(problem.clean, problem.label, problem.goal).clamp_max(-1e-12)
        ratio = state.lead / clean
        untargeted = (table.place[at] < 0) & (at > 0)
        state.low = torch.where(untargeted, torch.minimum(state.low, state.found), state.low)
        state.found = torch.full_like(state.found, NEVER)
        odds = -state.lead / (state.lead - state.low).clamp_min(1e-30)
        count = len(table.loss)
        index = torch.arange(count, device=at.device)
        open_ = (index > at[:, None]) & (ratio[:, None] <= table.within) & ~(odds[:, None] > table.chance)
        # A rung of targets begins: the nearest boundary first.
        order = (-state.reached / state.steepness.clamp_min(1e-30)).argsort(dim=1, stable=True)
        open_ &= self._own(state, order, table) / clean[:, None] <= table.each
        stage = torch.where(open_.any(1), open_.int().argmax(1), count)
        last = stage.clamp_max(count - 1)
        order = torch.where((table.place[last] == 0)[:, None], order, torch.arange(order.shape[1], device=at.device))
        for name in ("target_classes", "reached", "steepness"):
            setattr(state, name, getattr(state, name).gather(1, order))
        state.point = state.old = self._start(problem, table.wide[last], stage)
        state.stage, state.step = stage, torch.zeros_like(state.step)

    def _own(self, state: State, order: Tensor, table: Table) -> Tensor:
        """[S, K] best lead of the class that each search aims at; 0 of one that aims at none.

        Classes keep their order within a rung, and come in another one in those after it.
        """
        place = table.place.clamp_min(0).expand(len(order), -1)
        later = table.rung > table.rung[state.stage][:, None]
        own = torch.where(later, state.reached.gather(1, order).gather(1, place), state.reached.gather(1, place))
        return torch.where(table.place >= 0, own, 0.0)

    def _start(self, problem: Problem, wide: Tensor, number: Tensor) -> Tensor:
        """[S, *shape] where a search begins."""
        if not self.surface:
            return random_start(problem, number=number)
        ball = dataclasses.replace(problem, eps=problem.eps * wide.to(problem.eps.dtype), low=None, high=None)
        return random_start(ball, boundary=True, number=number)

    def done(self, problem: Problem, state: State) -> Tensor:
        """Past the last rung that its margin admits."""
        return state.stage >= len(self._table(state).loss)
