"""Auto-PGD: PGD with momentum and a step size that halves when progress stalls; in L1 with sparse steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.requests import Answer, Gradient, Request
from robaudit.attacks.starts import random_start
from robaudit.attacks.steps import momentum_step
from robaudit.attacks.whitebox.apgd_l1 import Schedule, SparseState, sparse_start, sparse_update
from robaudit.threat.losses import Loss, LossName, loss_named, loss_unsuited
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, blend, none_of, normalise, per_slot

__all__ = ["APGDCE", "APGDDLR", "APGDT"]

RHO = 0.75
"""Share of the steps of a window that must improve (Croce & Hein 2020, condition 1)."""
NO_DLR = "the DLR loss needs at least three classes (AutoAttack's own code stops there too)"


@dataclass
class State(Slots):
    """One slot's search.

    ``point`` is the iterate to be evaluated, ``old`` the one before it. ``improved`` counts the steps of the window
    that raised the loss.
    """

    point: Tensor
    old: Tensor
    best: Tensor
    best_slope: Tensor
    best_loss: Tensor
    last_loss: Tensor
    step: Tensor
    size: Tensor
    window: Tensor
    elapsed: Tensor
    improved: Tensor
    best_at_check: Tensor
    halved_at_check: Tensor


class _APGD(SlotAttack[State | SparseState]):
    """The iteration that the attacks share; a subclass names its parameters and its loss."""

    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF, Norm.L2, Norm.L1})
    steps: int
    wide_start: bool

    @property
    @abstractmethod
    def maximised(self) -> str:
        """Name of the loss to maximise."""

    def loss_function(self) -> Loss:
        """The loss to maximise."""
        return loss_named(self.maximised)

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        return {self.maximised: self.loss_function()}

    @property
    def _schedule(self) -> Schedule:
        """Phases of the search in L1."""
        return Schedule.of(self.steps, wide=self.wide_start)

    def most(self, task: Task) -> Cost:
        """A gradient a step and one more; in L1 one more of each phase."""
        return Cost.gradients(self._schedule.answers if task.norm is Norm.L1 else self.steps + 1)

    def init(self, problem: Problem) -> State | SparseState:
        """Start on the ball's surface with a step of 2 ε (in L1: of ε)."""
        if problem.norm is Norm.L1:
            return sparse_start(problem, self._schedule)
        start = random_start(problem, boundary=True)
        zero = problem.full(0)
        return State(
            point=start,
            old=start,
            best=start.clone(),
            best_slope=torch.zeros_like(start),
            best_loss=problem.full(float("-inf")),
            last_loss=zero,
            step=zero.long(),
            size=2 * problem.eps,
            window=torch.full_like(problem.label, max(int(0.22 * self.steps), 1)),
            elapsed=zero.long(),
            improved=zero.long(),
            best_at_check=problem.full(float("-inf")),
            halved_at_check=torch.ones_like(problem.label, dtype=torch.bool),
        )

    def query(self, problem: Problem, state: State | SparseState) -> Request:
        """The gradient at the current iterate; outside of the ball no point is a candidate."""
        if isinstance(state, SparseState) and self.wide_start:
            return Gradient(state.point, loss=self.loss_function(), candidates=self._schedule.last(state.phase))
        return Gradient(state.point, loss=self.loss_function())

    def update(self, problem: Problem, state: State | SparseState, answer: Answer) -> State | SparseState:
        """Keep the best iterate, adapt the step at checkpoints, step."""
        if isinstance(state, SparseState):
            return sparse_update(problem, state, answer, self._schedule)
        return self._dense(problem, state, answer)

    def done(self, problem: Problem, state: State | SparseState) -> Tensor:
        return state.step >= (self._schedule.answers if isinstance(state, SparseState) else self.steps + 1)

    def _dense(self, problem: Problem, state: State, answer: Answer) -> State:
        """Halve at checkpoints, step with momentum (algorithm 1)."""
        assert answer.loss is not None
        assert answer.gradient is not None
        first = state.step == 0
        better = answer.loss > state.best_loss
        weight = per_slot(better.to(state.point.dtype), state.point)
        state.best.lerp_(state.point, weight)  # in place: these two are the state's own, never shared
        state.best_slope.lerp_(answer.gradient, weight)
        state.best_loss = torch.where(better, answer.loss, state.best_loss)
        state.improved = state.improved + ((answer.loss > state.last_loss) & ~first)
        state.best_at_check = torch.where(first, answer.loss, state.best_at_check)
        state.last_loss = answer.loss
        state.elapsed = state.elapsed + (~first).long()
        return self._move(problem, state, self._checkpoint(state, answer.gradient), first)

    def _checkpoint(self, state: State, slope: Tensor) -> Tensor:
        """Where a window ends, halve the step and return to the best iterate if progress stalled.

        Returns:
            [S, *shape] the slope at the iterate that the next step starts from.
        """
        due = state.elapsed == state.window
        if none_of(due):
            return slope
        stalled = state.improved <= RHO * state.window
        stuck = ~state.halved_at_check & (state.best_at_check >= state.best_loss)
        halve = due & (stalled | stuck)
        state.size = torch.where(halve, state.size / 2, state.size)
        state.point = blend(halve, state.best, state.point)
        slope = blend(halve, state.best_slope, slope)
        state.halved_at_check = torch.where(due, stalled | stuck, state.halved_at_check)
        state.best_at_check = torch.where(due, state.best_loss, state.best_at_check)
        shrunk = (state.window - max(int(0.03 * self.steps), 1)).clamp_min(max(int(0.06 * self.steps), 1))
        state.window = torch.where(due, shrunk, state.window)
        state.elapsed = torch.where(due, 0, state.elapsed)
        state.improved = torch.where(due, 0, state.improved)
        return slope

    def _move(self, problem: Problem, state: State, slope: Tensor, first: Tensor) -> State:
        """The step of eq. 3 along a slope that nobody needs later, z projected, then mixed with the last move."""
        point, direction = state.point, normalise(problem.norm, slope, own=True)
        state.point = momentum_step(problem, point, state.old, direction, state.size, first)
        state.old = point
        state.step = state.step + 1
        return state


@attack_parameters
class APGDCE(_APGD):
    """Auto-PGD on the cross-entropy, or on another loss without targets.

    Source: Croce & Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks", algorithm 1; in L1 Croce & Hein 2021, "Mind the box: l1-APGD for sparse adversarial
    attacks on image classifiers": sign steps on the steepest features only, whose share follows the sparsity of the
    best point, projected onto ball and box at once. A targeted audit aims the loss at the goal. Cost: ``steps`` + 1
    forwards and backwards a restart (+ 3 with ``wide_start``), fewer once the sample falls.

    Args:
        steps: iterations of one restart.
        restarts: independent random starts.
        loss: maximised; see ``robaudit.threat.losses``.
        wide_start: in L1, 30 % of the steps at 3 ε, then 30 % at 2 ε, the rest at ε, as AutoAttack has it; other
            norms ignore it.
    """

    id = "apgd-ce"

    steps: Count = 100
    restarts: Count = 1
    loss: LossName = "ce"
    wide_start: bool = False

    @property
    def maximised(self) -> str:
        return self.loss

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        return loss_unsuited(self.loss, classes)


@attack_parameters
class APGDDLR(_APGD):
    """Auto-PGD on the difference-of-logits ratio, which no rescaling of the logits changes.

    Source: Croce & Hein 2020, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks", eq. 6 and algorithm 1 (L1: see apgd-ce); a targeted audit takes eq. 7. Needs three
    classes: below, the authors' code stops. Cost: ``steps`` + 1 forwards and backwards a restart (+ 3 with
    ``wide_start``), fewer once the sample falls.

    Args:
        steps: iterations of one restart.
        restarts: independent random starts.
        wide_start: as in apgd-ce.
    """

    id = "apgd-dlr"

    steps: Count = 100
    restarts: Count = 1
    wide_start: bool = False

    @property
    def maximised(self) -> str:
        return "dlr"

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """DLR needs three classes."""
        return NO_DLR if classes < 3 else None


@attack_parameters
class APGDT(_APGD):
    """Auto-PGD on the targeted difference-of-logits ratio, one unit a target class.

    Source: Croce & Hein 2020, eq. 7 and section 4.3 (L1: see apgd-ce). Needs four classes: below, the authors' code
    stops; with fewer classes than ``targets`` + 1 all others are tried. A targeted audit tries its goal alone. Cost:
    up to ``targets`` x ``restarts`` x (``steps`` + 1) forwards and backwards; a success at one class drops the later
    ones.

    Args:
        steps: iterations of one unit.
        targets: classes tried for each sample, by falling clean logit.
        restarts: independent random starts of each class.
        wide_start: as in apgd-ce.
    """

    id = "apgd-t"

    steps: Count = 100
    targets: Count = 9
    restarts: Count = 1
    wide_start: bool = False

    @property
    def unit_aims(self) -> int:
        return self.targets

    @property
    def maximised(self) -> str:
        return "dlr-targeted"

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """The targeted DLR loss needs four classes."""
        if classes >= 4:
            return None
        return "the targeted DLR loss needs at least four classes (AutoAttack's own code stops there too)"
