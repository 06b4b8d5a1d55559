"""Fits the artefact of a fitted attack: the samples in an order of their own, the requests, and what they cost."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, Fittable
from robaudit.attacks.requests import TRUE, Answer, Differentiated, How, Request
from robaudit.engine.problems import problem_at
from robaudit.engine.rows import Account
from robaudit.engine.run import Means
from robaudit.engine.units import SampleSource
from robaudit.errors import AuditInterrupted
from robaudit.target.running.watch import RUNNING
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.random import Draws, key_of

__all__ = ["FitJob", "Fitted", "carry_out"]


@dataclass(frozen=True)
class FitJob:
    """What is to be fitted; picklable.

    Args:
        attack: with its parameters, or the recipe of a surrogate.
        threat: norm and radius.
        samples: positions in the data of those to fit on, in the order of the fit; ``digests`` of their content.
        key: name that keys the random numbers.
        how: its gradients are taken, beside what the attack asks for by itself.
    """

    attack: Fittable
    threat: ThreatModel
    samples: tuple[int, ...]
    digests: tuple[str, ...]
    key: str
    how: How = TRUE


@dataclass(frozen=True)
class Fitted:
    """An artefact after some rounds of its fit.

    Args:
        artefact: named tensors, on the CPU.
        rounds: carried out so far.
        cost: of these rounds.
        seconds: that they took.
    """

    artefact: Artefact
    rounds: int
    cost: Cost
    seconds: float


def carry_out(
    means: Means,
    job: FitJob,
    samples: SampleSource,
    before: Fitted | None,
    sink: Callable[[Fitted], None],
    stop: Callable[[], bool],
) -> Fitted | None:
    """Fit to the end.

    Args:
        means: what asks the models.
        job: what is to be fitted.
        samples: loads the sample at a position, with the file's own clean answer as its label.
        before: what an earlier session came to; None: begin.
        sink: called after each round.
        stop: asked before each request.

    Returns:
        The artefact of the last round; None where the fit was stopped.
    """
    fit = _FitSet(means, job, samples, stop)
    try:
        if before is None:
            with fit.at_work():
                artefact = job.attack.fit_start(fit)
            before = Fitted(_on_cpu(artefact), 0, fit.cost, fit.seconds)
        for number in range(before.rounds, job.attack.fit_rounds):
            fit.begin(before)
            artefact = {name: value.to(means.oracle.device) for name, value in before.artefact.items()}
            with fit.at_work():
                artefact = job.attack.fit_round(fit, number, artefact)
                if number + 1 == job.attack.fit_rounds:
                    artefact = job.attack.fit_end(artefact)
            before = Fitted(_on_cpu(artefact), number + 1, fit.cost, fit.seconds)
            sink(before)
    except AuditInterrupted:
        return None
    return before


def _on_cpu(artefact: Artefact) -> Artefact:
    return {name: value.detach().cpu() for name, value in artefact.items()}


class _FitSet:
    """See :class:`robaudit.attacks.fitted.FitSet`."""

    def __init__(self, means: Means, job: FitJob, samples: SampleSource, stop: Callable[[], bool]) -> None:
        self.norm, self.eps = job.threat.norm, job.threat.eps
        self.classes, self.shape = means.oracle.classes, tuple(means.pool.points.shape[1:])
        self.scores: str = means.oracle.score_kind
        self.cost, self.seconds = Cost(), 0.0
        self._means, self._job, self._samples, self._stop = means, job, samples, stop

    def begin(self, before: Fitted) -> None:
        """Count on from what was done before."""
        self.cost, self.seconds = before.cost, before.seconds

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Counts the seconds of a round."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start

    def __len__(self) -> int:
        return len(self._job.samples)

    def problem(self, places: Sequence[int]) -> Problem:
        found = [self._samples(self._job.samples[place]) for place in places]
        plain = problem_at(found, self._job.threat, self._means.oracle, self._means.pool)
        keys = [key_of(self._means.seed, sample.digest, self._job.key, "fit") for sample in found]
        if self._job.attack.access not in (Access.WHITE_BOX, Access.SCORES):
            plain = dataclasses.replace(plain, clean=plain.clean[:, :0])
        return dataclasses.replace(plain, keys=torch.tensor(keys, dtype=torch.int64, device=plain.x.device))

    def go_on(self) -> None:
        if self._stop():
            raise AuditInterrupted("the audit was interrupted")

    def ask(self, problem: Problem, request: Request) -> Answer:
        self.go_on()
        means, job = self._means, self._job
        if isinstance(request, Differentiated) and job.how != TRUE:
            request = dataclasses.replace(request, how=request.how.then(job.how))
        account = Account.empty(len(problem), problem.x.device)
        before = self.cost.forwards
        account.forwards += before  # evaluations are numbered through the whole fit, so that no draw comes twice
        refusals = means.oracle.refusals
        # which of the samples it is that a model hangs on, a later process finds out: it asks for each alone
        with means.watch.about(f"{job.key}{RUNNING}", job.samples):
            refusals.last, refusals.doing = None, job.key
            answer = means.evaluator.answer(request, problem, job.attack.access, account, None)
        asked = (account.forwards - before, account.backwards, account.queries)
        self.cost += Cost(*(int(count.sum()) for count in asked))
        return answer

    def order(self, purpose: str, step: int) -> list[int]:
        seed, key, digests = self._means.seed, self._job.key, self._job.digests
        return sorted(range(len(self)), key=lambda i: (key_of(seed, key, "order", purpose, step, digests[i]), i))

    def zeros(self) -> Tensor:
        return torch.zeros(self.shape, dtype=self._means.oracle.dtype, device=self._means.oracle.device)

    @property
    def draws(self) -> Draws:
        key = key_of(self._means.seed, self._job.key, "fit", *self._job.digests)
        return Draws(torch.tensor([key], dtype=torch.int64, device=self._means.oracle.device))
