"""What a session works on, once it is loaded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.audit.journal.auxiliary import STAND_IN, SURROGATE
from robaudit.audit.journal.records.session import MeaningFound
from robaudit.audit.plan.attacks import TargetTraits
from robaudit.audit.plan.auxiliary import Auxiliary
from robaudit.audit.session.goal_choice import Chooser
from robaudit.audit.session.meaning_search import LOOKS, distinct_samples
from robaudit.data.distinct import DistinctDraw
from robaudit.data.source import Dataset
from robaudit.engine.models import Differentiable
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.attributed import Attributed
from robaudit.target.running.resized import Resized
from robaudit.target.running.watch import Watch
from robaudit.target.target import StandIn, Target, stand_in_for
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["Beside", "Loaded", "Opened"]

MEASURED = LOOKS[0]
"""Samples that models are measured on; those of the search's first look, so that both find the same."""


@dataclass(frozen=True)
class Beside:
    """A loaded auxiliary model.

    Args:
        auxiliary: which one it is.
        target: the same loaded.
        watch: told that it is at work, by those who ask it by other ways than ``attributed``.
        shape: of the samples that it is asked about; images of another size are made to fit.
    """

    auxiliary: Auxiliary
    target: Target
    watch: Watch
    shape: tuple[int, ...]

    @property
    def attributed(self) -> Differentiable:
        """As an attack asks it."""
        own, model = self.target.spec.shape, self.target
        fitting = model if own == self.shape else Resized(model, (own[1], own[2]))
        return Attributed(fitting, self.watch, self.auxiliary.key)

    def at_work(self) -> AbstractContextManager[None]:
        """What follows is its work."""
        return self.watch.auxiliary(self.auxiliary.key)


@dataclass(frozen=True)
class Opened:
    """Everything an audit works on, before its file is measured.

    Args:
        opened: the file under audit.
        data: the samples.
        draw: distinct inputs of them in the order in which they are drawn, ``asked`` the most to take.
        drawn: indices of those audited, in data order; where the audit may end early, and to look at a file alone, of
            those asked for, equal inputs among them.
        reference: labels, or the model's own answers.
        beside: surrogates, and a stand-in, that can be used; ``problems``: why others cannot, by their keys.
        meanings: what a search found that their inputs mean, a record a model.
        goals: decides the classes that each sample is to be made to answer; None: any wrong one.
        order: all indices, the classes in turn; the target is measured on the first.
        sets: what may be changed beside the ball, fitted to the input.
        compiles: the twin is to be compiled.
        surrogate_files: names of all surrogates that are given as files.
    """

    opened: OpenedTarget
    data: Dataset
    draw: DistinctDraw
    asked: int
    drawn: list[int]
    reference: Literal["labels", "model"]
    beside: list[Beside]
    problems: dict[str, str]
    meanings: list[MeaningFound] = field(default_factory=list)
    goals: Chooser | None = None
    order: list[int] = field(default_factory=list)
    sets: tuple[PerturbationSet, ...] = ()
    compiles: bool = False
    surrogate_files: tuple[str, ...] = ()
    _others: list[int] = field(default_factory=list)

    @property
    def surrogates(self) -> dict[str, Differentiable]:
        """The files for transfer attacks, by name."""
        mine = [other for other in self.beside if other.auxiliary.role == SURROGATE]
        return {other.auxiliary.short: other.attributed for other in mine}

    @property
    def misfits(self) -> list[str]:
        """Why surrogates cannot be used."""
        return [problem for key, problem in self.problems.items() if key.startswith(SURROGATE)]

    def others(self, count: int) -> list[int]:
        """The first so many distinct inputs after those that may be audited, fewer where the data hold no more."""
        if self.asked >= len(self.data):
            return []
        if count > len(self._others):
            # a draw of its own, as what was passed over for the audited samples is reported
            draw = DistinctDraw(self.data, self.draw.seed, self.opened.fed, labels=False)
            self._others[:] = draw.first(self.asked + count)[self.asked :]
        return self._others[:count]

    def drop(self, other: Beside, problem: str) -> None:
        """Go on without an auxiliary model."""
        self.beside.remove(other)
        self.problems[other.auxiliary.key] = problem

    @property
    def no_gradient(self) -> str | None:
        """Why none is to be taken, as the stand-in cannot be used; None: it can, or there is none."""
        return next((problem for key, problem in self.problems.items() if key.startswith(STAND_IN)), None)

    @property
    def stand_in(self) -> StandIn | None:
        """The model whose gradient is taken in place of the file's own."""
        for other in self.beside:
            if other.auxiliary.role == STAND_IN:
                return stand_in_for(self.opened, other.target, other.attributed)
        return None

    @property
    def differentiable(self) -> Differentiable | None:
        """The model whose gradient is to be taken, as far as is known yet; None: that of none."""
        if self.no_gradient is not None:
            return None
        if (stand_in := self.stand_in) is not None:
            return stand_in.path
        return self.opened if self.opened.file.no_gradient is None else None

    def loaded(self, target: Target) -> Loaded:
        """The same with the target complete."""
        return Loaded(**{entry.name: getattr(self, entry.name) for entry in fields(Opened)}, target=target)

    def measured(self) -> Tensor | None:
        """[N, *shape] the samples that models are measured on, on the target's device; None where none can be read."""
        found = [point for _, point in self._measured]
        if not found:
            return None
        return torch.from_numpy(np.stack(found)).to(self.opened.device, self.opened.dtype)

    def measured_on(self) -> list[int]:
        """Their indices."""
        return [index for index, _ in self._measured]

    @cached_property
    def _measured(self) -> list[tuple[int, NDArray[Any]]]:
        return list(islice(distinct_samples(self.data, self.order), MEASURED))


@dataclass(frozen=True)
class Loaded(Opened):
    """Everything an audit works on.

    Args:
        target: the file under audit, measured and its gradient tried.
    """

    target: Target = field(kw_only=True)

    @property
    def traits(self) -> TargetTraits:
        """What decides which attacks can run."""
        gradient = self.target.gradient
        return TargetTraits(
            classes=self.target.num_classes,
            shape=self.target.spec.shape,
            no_gradient=None if gradient.available else gradient.reason,
            files=self.surrogate_files,
            surrogates=tuple(self.surrogates),
            misfits=self.misfits,
            no_scores=self.target.no_scores,
            pupil=self.opened.pupil,
            others=self.others,
            unsmooth=self.target.unsmooth,
        )
