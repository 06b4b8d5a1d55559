"""Fitted attacks: one artefact, fitted on many samples, that a slot attack then applies to others.

A universal perturbation, a patch, a generator. The fit works round by round; its state is the artefact so far, so that
the engine journals every round, resumes a killed fit after its last one, and counts what it asked.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, StateT
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.requests import Answer, Labels, Logits, Request, Scores
from robaudit.threat.model import Access, Goal
from robaudit.threat.norms import Norm
from robaudit.threat.random import Draws

__all__ = ["Applied", "Artefact", "Family", "FitSet", "Fittable", "FittedAttack", "FittedSearch"]

Artefact = Mapping[str, Tensor]
"""Named tensors, everything that a later round, and the attack itself, need to know of a fit."""
Family = Literal["universal", "patch", "spatial", "per sample"]
"""One perturbation for all samples, one that covers a part of the input, one of its geometry, or one for each."""


class FitSet(Protocol):
    """Samples to fit on, apart from the audited ones; the engine implements it.

    The class of each is the file's own clean answer: no label is needed, and none of an audited sample is ever seen.
    Their order follows from their content.
    """

    norm: Norm
    eps: float
    classes: int
    shape: tuple[int, ...]
    scores: str
    """What the target's scores are: logits, probabilities, log-probabilities, or another word."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def problem(self, places: Sequence[int]) -> Problem:
        """Some samples as slots, by their places from 0; without a goal, and with fixed features as they are."""
        ...

    def ask(self, problem: Problem, request: Request) -> Answer:
        """The answer to a request of the attack's access, which is billed to the fit.

        Raises:
            AuditInterrupted: the audit was told to stop; let it pass.
        """
        ...

    def order(self, purpose: str, step: int) -> list[int]:
        """All places in a random order, keyed by the seed, purpose, step and each sample's content."""
        ...

    def zeros(self) -> Tensor:
        """[*shape] zeros on the right device, in the search's float type."""
        ...

    def go_on(self) -> None:
        """To be called now and then where nothing is asked for long.

        Raises:
            AuditInterrupted: the audit was told to stop; let it pass.
        """
        ...

    @property
    def draws(self) -> Draws:
        """Keyed random numbers of the fit: one slot."""
        ...


class Fittable(Protocol):
    """What is fitted round by round: a :class:`FittedSearch`, or a recipe of a surrogate."""

    @property
    def access(self) -> Access:
        """What its requests may ask of the target."""
        ...

    @property
    def fit_samples(self) -> int:
        """Most samples to fit on."""
        ...

    @property
    def fit_needs(self) -> int:
        """Fewest samples without which there is no fit."""
        ...

    @property
    def fit_rounds(self) -> int:
        """Rounds of the fit."""
        ...

    def fit_start(self, fit: FitSet) -> Artefact:
        """The artefact before the first round."""
        ...

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """The artefact after a further round."""
        ...

    def fit_end(self, artefact: Artefact) -> Artefact:
        """What is kept of the artefact after the last round."""
        ...


@dataclass
class Applied(Slots):
    """[S] bool: the one candidate was seen."""

    seen: Tensor


class FittedSearch(SlotAttack[StateT]):
    """An attack that fits an artefact first, which its search of each sample then uses.

    It runs on every audited sample that is answered correctly, those that fell to earlier attacks among them, so that
    its own rate is known. ``problem.artefact`` holds the artefact. A subclass says how to fit, and searches as any
    attack does.
    """

    family: ClassVar[Family] = "universal"
    """Of the perturbations that it tests; a report names those that no attack tested."""

    @property
    @abstractmethod
    def fit_samples(self) -> int:
        """Most samples to fit on."""

    @property
    @abstractmethod
    def fit_least(self) -> int:
        """Fewest samples to fit on; where the data hold fewer beside the audited ones, the attack is unavailable."""

    @property
    @abstractmethod
    def fit_rounds(self) -> int:
        """Rounds of the fit, after each of which a killed audit can resume."""

    @property
    def fit_needs(self) -> int:
        """Fewest samples without which there is no fit."""
        return min(self.fit_least, self.fit_samples)

    @abstractmethod
    def fit_start(self, fit: FitSet) -> Artefact:
        """The artefact before the first round."""

    @abstractmethod
    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """The artefact after a further round; a pure function of what it is given.

        Args:
            fit: the samples.
            number: of the round, from 0.
            artefact: that of the round before.
        """

    def fit_end(self, artefact: Artefact) -> Artefact:
        """What is kept of the artefact after the last round."""
        return artefact

    def most_of_fit(self, task: Task, samples: int) -> Cost | None:
        """Most evaluations of the whole fit on so many samples; None: it cannot say."""
        return None


class FittedAttack(FittedSearch[Applied]):
    """One that applies its artefact: one candidate a sample, which the judge confirms on the file."""

    goals: ClassVar[frozenset[Goal]] = frozenset({Goal.UNTARGETED})

    @abstractmethod
    def candidate(self, problem: Problem) -> Tensor:
        """[S, *shape] the artefact applied to each sample, within ball and box."""

    def most(self, task: Task) -> Cost:
        """One look at the candidate; the fit is apart."""
        return Cost(queries=1) if self.access in (Access.SCORES, Access.LABELS) else Cost(forwards=1)

    def init(self, problem: Problem) -> Applied:
        """Nothing was seen."""
        return Applied(torch.zeros(len(problem), dtype=torch.bool, device=problem.x.device))

    def query(self, problem: Problem, state: Applied) -> Request:
        """The candidate, in the way that the attack's access allows."""
        kinds: dict[Access, type[Request]] = {Access.SCORES: Scores, Access.LABELS: Labels}
        return kinds.get(self.access, Logits)(self.candidate(problem))

    def update(self, problem: Problem, state: Applied, answer: Answer) -> Applied:
        """It was seen."""
        return Applied(torch.ones_like(state.seen))

    def done(self, problem: Problem, state: Applied) -> Tensor:
        """After the candidate."""
        return state.seen
