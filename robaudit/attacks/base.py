"""The contract of a slot attack: an update rule over explicit state; the engine does the rest.

A slot is one unit of work, (sample, restart, aim). An attack never sees how slots are batched, judged,
counted, stopped, resumed or reported.
"""

from __future__ import annotations

import dataclasses
import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.requests import Answer, Request
from robaudit.threat.losses import Loss, margin
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm, per_slot
from robaudit.threat.projections import project
from robaudit.threat.random import Draws
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["Problem", "SlotAttack", "Slots", "StartingPool", "Stop"]

SMALL = 1e-4
"""Largest change of a feature in the step that shows what a set leaves of a slope; the domain is 1 wide."""


@dataclass
class Slots:
    """A structure of tensors whose first dimension is the slot. Subclass it as a dataclass.

    Fields that are tensors (or nested ``Slots``, or None) are gathered and joined by the engine; other
    fields must be the same for all slots.
    """

    def take(self, index: Tensor) -> Self:
        """The slots at ``index`` ([M] int64), in that order."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changes[field.name] = value.index_select(0, index)
            elif isinstance(value, Slots):
                changes[field.name] = value.take(index)
        return dataclasses.replace(self, **changes)

    def join(self, other: Self) -> Self:
        """These slots followed by the other's."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, Tensor):
                changes[field.name] = torch.cat([mine, theirs])
            elif isinstance(mine, Slots):
                changes[field.name] = mine.join(theirs)
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class StartingPool:
    """Samples that an attack may start from; the report declares them as part of the threat model.

    Args:
        points: [M, *shape] in u-space; their order does not depend on the order of the data.
        labels: [M] int64 their reference classes.
    """

    points: Tensor
    labels: Tensor


@dataclass
class Problem(Slots):
    """What an attack knows of its slots.

    Args:
        x: [S, *shape] unperturbed samples in u-space, [0, 1] for every feature.
        label: [S] int64 reference class.
        goal: [S] int64 class that counts as a success, or -1: any but the label.
        target_class: [S] int64 class that a targeted loss aims at: the goal, or in an untargeted audit the unit's
            own class for attacks that try several (``unit_aims``), else -1.
        eps: [S] radius as a fraction of the domain's width, in the search's float type.
        restart: [S] int64 number of the restart, from 0.
        keys: [S] int64 keys of :class:`Draws`.
        clean: [S, K] logits at ``x`` for white box and score access, -inf of a class that is masked, else an empty
            [S, 0].
        norm: of the threat model.
        classes: number of classes K.
        max_points: most points that one request may hold for a slot.
        pool: other samples of the audit to start from.
        fixed: [S, *shape] bool, features that must stay as they are; None: all may change.
        joint: perturbation sets that say how features change together.
        minimal: the smallest distances are sought: do not end where a success lies in the ball.
        ended: [S] bool, members of a cohort whose own search is over while the others go on; None: no cohort.
        low, high: [S, *shape] corners of the L-infinity ball within the box; None for other norms.
        surrogates: number of those whose gradients may be asked for.
        artefact: named tensors that a fitted attack was fitted to, the same for all slots; empty for others.
    """

    x: Tensor
    label: Tensor
    goal: Tensor
    target_class: Tensor
    eps: Tensor
    restart: Tensor
    keys: Tensor
    clean: Tensor
    norm: Norm
    classes: int
    max_points: int
    pool: StartingPool
    fixed: Tensor | None = None
    joint: tuple[PerturbationSet, ...] = ()
    minimal: bool = False
    ended: Tensor | None = None
    low: Tensor | None = None
    high: Tensor | None = None
    surrogates: int = 0
    artefact: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.norm is Norm.LINF and self.low is None:
            radius = per_slot(self.eps, self.x)
            self.low, self.high = (self.x - radius).clamp_min(0.0), (self.x + radius).clamp_max(1.0)
            if self.fixed is not None:
                self.low, self.high = (torch.where(self.fixed, self.x, end) for end in (self.low, self.high))

    def clip(self, point: Tensor) -> Tensor:
        """[S, *shape] or [S, N, *shape] points brought back into the box and the perturbation sets, as every point
        must be before the model is asked about it.
        """
        point = point.clamp(0.0, 1.0)
        several = point.dim() > self.x.dim()
        origin = self.x[:, None] if several else self.x
        if self.fixed is not None:
            point = torch.where(self.fixed[:, None] if several else self.fixed, origin, point)
        return self._joined(point, origin) if self.joint else point

    def project(self, point: Tensor, *, own: bool = False) -> Tensor:
        """[S, *shape] points brought back into each slot's ball, the box and the perturbation sets.

        ``own``: nobody else holds the tensor, whose memory may be used for the result.
        """
        if self.low is not None and self.high is not None:
            point = torch.clamp(point, self.low, self.high, out=point if own else None)
        else:
            if self.fixed is not None:
                point = torch.where(self.fixed, self.x, point)
            point = project(self.norm, point, self.x, self.eps)
        return self._joined(point, self.x) if self.joint else point

    def free(self, slope: Tensor, point: Tensor, slot: Tensor) -> Tensor:
        """Slopes [N, *shape] at points [N, *shape] of slots [N] within the perturbation sets.

        Where features change together, the sign of each slope is no direction of ascent: of those that change alike
        the sum counts. What a small step comes to once it is projected is one; of a linear set it is exact.
        """
        if self.fixed is not None:
            slope = slope.masked_fill(self.fixed[slot], 0.0)
        if not self.joint:
            return slope
        exact, origin = slope.double(), self.x[slot].double()
        steepest = exact.flatten(1).abs().amax(1)
        length = per_slot(torch.where(steepest > 0, SMALL / steepest, 1.0), exact)
        here = self._joined(point.double(), origin)
        moved = self._joined(torch.addcmul(here, exact, length), origin)
        return ((moved - here) / length).to(slope.dtype)

    def _joined(self, point: Tensor, origin: Tensor) -> Tensor:
        """Points brought into the sets that say how features change together, which are written in NumPy."""
        both = (point.detach(), origin.expand_as(point))
        flat, start = (side.reshape(-1, *self.shape).double().cpu().numpy() for side in both)
        for one in self.joint:
            flat = one.project(flat, start)
        return torch.from_numpy(flat).to(point).reshape(point.shape)

    def settled(self, distance: Tensor) -> Tensor:
        """[S] bool: a success at these distances [S] is all that is asked for, as it lies in the ball."""
        if self.minimal:
            return torch.zeros_like(distance, dtype=torch.bool)
        return distance <= self.eps

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def draws(self) -> Draws:
        """Keyed random numbers of these slots."""
        return Draws(self.keys)

    @cached_property
    def aimed(self) -> bool:
        """Whether any slot has a class that a targeted loss aims at."""
        return bool((self.target_class >= 0).any())

    @cached_property
    def untargeted(self) -> bool:
        """Whether any class but the label counts, of all slots."""
        return not bool((self.goal >= 0).any())

    def full(self, value: float, dtype: torch.dtype | None = None) -> Tensor:
        """[S] filled with a value, on the slots' device, in the search's float type unless told."""
        return torch.full((len(self),), value, dtype=dtype or self.x.dtype, device=self.x.device)


class Stop(enum.Enum):
    """When a slot is finished, besides ``done``."""

    FIRST_SUCCESS = "first success"
    """As soon as the judge confirms a fooled point that the attack asked about."""
    RUN_ON = "run on"
    """Never before ``done``; then the judge looks at ``best`` alone."""


@runtime_checkable
class Restarted(Protocol):
    """An attack with a parameter that says how often it is begun anew."""

    restarts: int


@runtime_checkable
class Budgeted(Protocol):
    """An attack with a parameter that says how many queries it has."""

    queries: int | None


StateT = TypeVar("StateT", bound=Slots)


class SlotAttack(ABC, Generic[StateT]):
    """An attack. A subclass is a frozen pydantic dataclass whose fields are the attack's parameters.

    Class attributes:
        id: name in profiles and reports.
        access: what it may ask of the target; a request outside of it is refused.
        norms: threat models that it serves.
        goals: goals that it serves.
        stop: its stop rule.
        several: it asks about many points of a slot at once, so that fewer slots are worked on together.
        prior: beside its queries it takes gradients of surrogates, so that it needs one.
        least_surrogates: how many it needs at least, where it needs any.
        joint: it gets past a detector beside the target, and is not planned where there is none.
    """

    id: ClassVar[str]
    access: ClassVar[Access]
    norms: ClassVar[frozenset[Norm]]
    goals: ClassVar[frozenset[Goal]] = frozenset(Goal)
    stop: ClassVar[Stop] = Stop.FIRST_SUCCESS
    several: ClassVar[bool] = False
    prior: ClassVar[bool] = False
    least_surrogates: ClassVar[int] = 1
    joint: ClassVar[bool] = False

    @property
    def unit_restarts(self) -> int:
        """How many restarts each (sample, aim) gets."""
        return self.restarts if isinstance(self, Restarted) else 1

    @property
    def unit_aims(self) -> int:
        """How many target classes an untargeted audit tries for each sample; 0: the attack needs none.

        The engine ranks the classes by the clean logits, the label left out, and gives each unit its own.
        """
        return 0

    @property
    def cohort_size(self) -> int:
        """Most samples of a cohort, which such an attack may mix; 0: every slot is on its own.

        The slots of a call are then the members of one cohort, from its first step to its last. One that has fallen
        stays, marked in ``problem.ended``, and need not be asked about any more.
        """
        return 0

    @property
    def query_budget(self) -> int | None:
        """Most queries of a black-box attack for each unit; the engine enforces it."""
        return self.queries if isinstance(self, Budgeted) else None

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Why the attack does not apply to a model of so many classes and this sample shape, or None."""
        return None

    def no_room(self, shape: tuple[int, ...], eps: float) -> str | None:
        """Why a radius leaves the attack nothing to change in samples of this shape, or None."""
        return None

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The losses whose slopes an attack with gradients follows, by name; none where it has no gradient.

        Where none of them has a slope at a sample the attack is blind there, and the check zero-gradient says so. Leads
        of one logit over another, and rows of the Jacobian, count as the margin, which is the default.

        Args:
            classes: of the model.
        """
        gradients = self.access in (Access.WHITE_BOX, Access.TRANSFER)
        return {"margin": margin} if gradients else {}

    def most(self, task: Task) -> Cost | None:
        """Most evaluations of one unit where nothing falls; None: it cannot say, and no estimate of it is given.

        A black-box attack can if it declares its queries, which the engine enforces.
        """
        black_box = self.access in (Access.SCORES, Access.LABELS)
        return Cost(queries=self.query_budget) if black_box and self.query_budget is not None else None

    @abstractmethod
    def init(self, problem: Problem) -> StateT:
        """State of new slots, before anything was asked."""

    @abstractmethod
    def query(self, problem: Problem, state: StateT) -> Request:
        """What to evaluate next."""

    @abstractmethod
    def update(self, problem: Problem, state: StateT, answer: Answer) -> StateT:
        """The next state, given the answer to ``query``."""

    @abstractmethod
    def done(self, problem: Problem, state: StateT) -> Tensor:
        """[S] bool: slots with nothing left to try."""

    def best(self, problem: Problem, state: StateT) -> tuple[Tensor, Tensor]:
        """For run-on attacks: final candidates [S, *shape], and [S] bool where there is none."""
        raise TypeError(f"{self.id} stops at its first success and names no best point")
