"""One job at work: refill, ask, judge, update, cull. The one loop that runs every slot attack."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, StartingPool, Stop
from robaudit.attacks.requests import TRUE, Answer, Differentiated, How, ModelRef, Request
from robaudit.engine.blacklight import watches
from robaudit.engine.cohorts import Cohorts
from robaudit.engine.escape import twin_by_rounding
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.in_flight import InFlight, judged_result, result_of
from robaudit.engine.job import Job
from robaudit.engine.judge import Judge, Verdicts
from robaudit.engine.ledger import Ledgers
from robaudit.engine.oracle import Oracle
from robaudit.engine.problems import problem_of
from robaudit.engine.rows import Account, Luck, over_points
from robaudit.engine.served import told_clean
from robaudit.engine.standin import stood_in
from robaudit.engine.units import Sample, SampleSource, Sink, Unit, UnitResult, loaded, sample_of, still_standing
from robaudit.target.running.watch import RUNNING, Watch
from robaudit.threat.model import Access

__all__ = ["Means", "Run"]

MAX_POINT_BYTES = 16 * 2**20
"""Most memory of a slot's points in one request."""
MAX_REQUEST_BYTES = 256 * 2**20
"""Most memory of all points in one request of an attack that asks for many at once."""
PUSHES = (1.0003, 1.003, 1.03, 1.1, 1.3, 1.7, 2.5, 4.0, 8.0, 16.0, 32.0)
"""How much further from the sample a minimal-norm attack's best point is tried where the file denies it: a little for
what the twin rounds otherwise, more for whole-numbered features, which the judge rounds towards the sample."""
NOT_FINITE = "the model's output or gradient is not finite at a point tried"
MOSTLY = "the model's output or gradient is not finite at most of the points tried"


@dataclass(frozen=True)
class Means:
    """What runs work with.

    Args:
        oracle: asks the models.
        evaluator: answers requests.
        judge: confirms successes on the file.
        slots: units in flight at once.
        seed: of all keyed random numbers.
        pool: samples that attacks may start from.
        watch: told which samples are asked.
        expected: draws of a random target that its gradients are means over, where a job does not say; 1 of others.
    """

    oracle: Oracle
    evaluator: Evaluator
    judge: Judge
    slots: int
    seed: int
    pool: StartingPool
    watch: Watch
    expected: int = 1


class Run:
    """A job at work.

    Args:
        means: what it works with.
        job: what is to be run.
        samples: loads a sample as the job sees it.
        sink: called once for every unit that finished.
        stop: asked between steps.
    """

    def __init__(self, means: Means, job: Job, samples: SampleSource, sink: Sink, stop: Callable[[], bool]) -> None:
        self._means = means
        self._job = job
        self._attack = job.attack
        self._samples = samples
        self._sink = sink
        self._stop = stop
        # where a sibling may come nearer, none is released
        self._won = {} if job.threat.minimal else dict(job.won)
        self._refusals = means.oracle.refusals
        self._budget = job.budget
        self._artefact = {name: value.to(means.oracle.device) for name, value in job.artefact.items()}
        points = means.pool.points
        size = max(1, math.prod(points.shape[1:])) * points.element_size()
        # of the sample's size alone, so that no draw depends on the batch
        self._max_points = int(max(1, min(64, MAX_POINT_BYTES // size)))
        self._width = means.slots
        if job.attack.access is Access.LABELS or job.attack.several:  # they ask for many points at once
            self._width = max(1, min(means.slots, MAX_REQUEST_BYTES // (self._max_points * size)))

    def carry_out(self) -> bool:
        """Run all units; whether each was carried to its end."""
        if self._attack.cohort_size:
            cohorts = Cohorts(self._attack.cohort_size, self._samples, self._start, self._advance, self._stop)
            return cohorts.run(self._job.units, self._emit, self._won, self._job.finished)
        pending = deque(unit for unit in self._job.units if unit not in self._job.finished)
        siblings = self._attack.unit_restarts * max(self._attack.unit_aims, 1) > 1
        pool: InFlight | None = None
        while pool is not None or pending:
            if self._stop():
                return False
            pool = self._refill(pool, pending)
            if pool is None:
                continue
            pool = self._step(pool)
            if pool is not None and siblings:
                pool = self._release(pool)
        return True

    def _emit(self, result: UnitResult) -> None:
        if result.success and not self._job.threat.minimal:
            best = self._won.get(result.unit.sample)
            self._won[result.unit.sample] = result.unit if best is None else min(best, result.unit)
        self._sink(result)

    def _refill(self, pool: InFlight | None, pending: deque[Unit]) -> InFlight | None:
        """Fill free slots with the next units whose sample still stands."""
        free = self._width - (len(pool.units) if pool else 0)
        fresh: list[tuple[Unit, Sample]] = []
        while pending and len(fresh) < free:
            unit = pending.popleft()
            if still_standing(unit, self._won):
                fresh += loaded([unit], self._samples, self._emit)
        if not fresh:
            return pool
        new = self._start(fresh)
        return new if pool is None else pool.join(new)

    def _start(self, fresh: list[tuple[Unit, Sample]]) -> InFlight:
        means, attack = self._means, self._attack
        keys = [unit.key(means.seed, sample.digest, self._job.key) for unit, sample in fresh]
        problem = problem_of(fresh, keys, attack, self._job.threat, means.oracle, self._max_points, means.pool)
        count = means.oracle.members(self._job.how)
        problem = dataclasses.replace(problem, artefact=self._artefact, surrogates=count)
        ledgers = None
        if attack.access is Access.SCORES:
            problem = dataclasses.replace(problem, clean=told_clean(means.oracle, problem))
        if attack.access is not Access.WHITE_BOX:
            ledgers = Ledgers.empty(len(fresh), watched=watches(problem.shape))
        luck = Luck.none(problem.x) if means.oracle.is_random else None
        account = Account.empty(len(fresh), problem.x.device, ledgers, luck)
        return InFlight([unit for unit, _ in fresh], problem, attack.init(problem), account)

    def _step(self, pool: InFlight) -> InFlight | None:
        """One request, its answer, the judge, the update; emits and removes what finished."""
        pool, gone = self._advance(pool, self._emit)
        if gone is None:
            return pool
        return None if bool(gone.all()) else pool.take(~gone)

    def _advance(self, pool: InFlight, emit: Sink) -> tuple[InFlight, Tensor | None]:
        """As :meth:`_step`, with what finished ([S] bool; None: nothing) still in the pool."""
        key = self._job.key
        watch = self._means.watch
        asked = [sample_of(unit.sample) for unit in pool.units] if watch.looks else []
        with watch.about(f"{key}{RUNNING}", asked):
            self._refusals.last, self._refusals.doing = None, key
            return self._advanced(pool, emit)

    def _advanced(self, pool: InFlight, emit: Sink) -> tuple[InFlight, Tensor | None]:
        attack, problem, account = self._attack, pool.problem, pool.account
        request = attack.query(problem, pool.state)
        answer, broken = self._answer(request, problem, account)
        answer = self._counting(request, problem, answer)
        accepted = None
        if attack.stop is Stop.FIRST_SUCCESS and bool(answer.fooled.any()):
            answer, accepted = self._confirm(pool, answer, emit)
        state = attack.update(problem, pool.state, answer)
        pool = InFlight(pool.units, problem, state, account)
        finished = attack.done(problem, state)
        if broken is not None:
            finished = finished | broken
        if self._budget is not None:
            finished |= account.spent(self._budget, free=self._means.oracle.service.free_repeats)
        if accepted is not None:
            finished = finished & ~accepted
            broken = None if broken is None else broken & ~accepted
        if problem.ended is not None:
            finished &= ~problem.ended
        if bool(finished.any()):
            self._finish(pool, finished, broken, emit)
        elif accepted is None:
            return pool, None
        return pool, finished if accepted is None else finished | accepted

    def _answer(self, request: Request, problem: Problem, account: Account) -> tuple[Answer, Tensor | None]:
        """The answer, with that of a point nearby where it is not finite, and the slots [S] that this leaves broken;
        None: no slot.

        A point that the model refuses is one without a class.
        """
        job = self._job
        if isinstance(request, Differentiated):
            how = self._how(request)
            request = request if how is request.how else dataclasses.replace(request, how=how)

        def ask(request: Request) -> Answer:
            attack = job.attack
            return self._means.evaluator.answer(
                request, problem, attack.access, account, self._budget, prior=attack.prior
            )

        answer, lost = stood_in(request, ask(request), problem, account, self._budget, ask)
        return answer, lost if lost is None or lost.dim() == 1 else lost.any(1)

    def _how(self, request: Differentiated) -> How:
        """How the gradients of a request are taken: of a random target always as means over draws."""
        how = request.how if self._job.how == TRUE else request.how.then(self._job.how)
        if self._means.expected > 1 and not self._job.one_draw and request.model is ModelRef.TARGET and how.copies == 1:
            how = dataclasses.replace(how, copies=self._means.expected)
        return how

    def _counting(self, request: Request, problem: Problem, answer: Answer) -> Answer:
        """The answer with ``fooled`` where it counts: at candidates, beyond rounding, of members still searched."""
        fooled = answer.fooled
        if request.candidates is not None:
            fooled = fooled & over_points(request.candidates, fooled)
            answer = dataclasses.replace(answer, fooled=fooled)
        # nobody asks the file before the end of an attack that runs on
        if self._attack.stop is Stop.RUN_ON and (doubtful := twin_by_rounding(problem, answer)) is not None:
            fooled = fooled & ~doubtful
        if problem.ended is not None:
            fooled = fooled & ~over_points(problem.ended, fooled)
        return answer if fooled is answer.fooled else dataclasses.replace(answer, fooled=fooled)

    def _confirm(self, pool: InFlight, answer: Answer, emit: Sink) -> tuple[Answer, Tensor]:
        """Show each slot's first fooled point to the judge; denied ones become ``refused``."""
        problem = pool.problem
        fooled = answer.fooled.reshape(len(problem), -1)
        accepted = torch.zeros(len(problem), dtype=torch.bool, device=fooled.device)
        slots = fooled.any(1).nonzero()[:, 0]
        first = fooled.int().argmax(1)[slots]
        candidates = answer.points.reshape(len(problem), -1, *problem.shape)[slots, first]
        verdicts = self._judge(pool, slots, candidates)
        pool.account.refused[slots] += (~verdicts.success).long()
        accepted[slots] = verdicts.success
        bills = pool.account.bills(slots)
        for row, slot in enumerate(slots.tolist()):
            if verdicts.success[row]:
                emit(judged_result(pool, slot, bills[row], verdicts, row))
        refused = fooled & ~accepted[:, None]
        confirmed = (fooled & accepted[:, None]).reshape(answer.fooled.shape)
        denied = refused.reshape(answer.fooled.shape)
        return dataclasses.replace(answer, fooled=confirmed, refused=denied), accepted

    def _finish(self, pool: InFlight, finished: Tensor, broken: Tensor | None, emit: Sink) -> None:
        """Emit finished slots; of a run-on attack, what it found before a broken slot's NaN counts."""
        attack, errors = self._attack, self._errors(pool, broken)

        def failed(slots: Tensor) -> None:
            for i, bill in zip(slots.tolist(), pool.account.bills(slots), strict=True):
                emit(result_of(pool, i, bill, success=False, error=errors.get(i)))

        if attack.stop is Stop.FIRST_SUCCESS:
            failed(finished.nonzero()[:, 0])
            return
        points, none = attack.best(pool.problem, pool.state)
        none = none | ~points.flatten(1).isfinite().all(1)
        failed((finished & none).nonzero()[:, 0])
        slots = (finished & ~none).nonzero()[:, 0]
        if slots.numel() == 0:
            return
        transfer = attack.access is Access.TRANSFER
        if transfer:  # the one candidate shown to the target is a label query
            pool.account.queries[slots] += 1
        verdicts = self._judge(pool, slots, points[slots])
        if transfer and pool.account.ledgers is not None:
            pool.account.ledgers.count_bad(slots, ~verdicts.fooled)
        if attack.access is Access.WHITE_BOX:
            verdicts = self._pushed(pool, slots, points[slots], verdicts)
        if not transfer:  # a hope is not refused, nor is a point outside of the ball: the attack has failed
            pool.account.refused[slots] += (~verdicts.fooled).long()
        bills = pool.account.bills(slots)
        for row, slot in enumerate(slots.tolist()):
            emit(judged_result(pool, slot, bills[row], verdicts, row, errors.get(slot)))

    def _errors(self, pool: InFlight, broken: Tensor | None) -> dict[int, str]:
        """Why slots came to nothing, where it is no merit of the model."""
        refusals, account = self._refusals, pool.account
        surrogates = self._attack.prior or self._attack.access is Access.TRANSFER
        who = "a surrogate or the model" if surrogates else "the model"
        told = NOT_FINITE if refusals.last is None else f"{who} cannot answer a point tried: {refusals.last}"
        mostly = f"{MOSTLY}, or refused: {refusals.why}" if refusals.counts[self._job.key] else MOSTLY
        errors = dict.fromkeys((2 * account.lost > account.asked).nonzero()[:, 0].tolist(), mostly)
        return errors if broken is None else errors | dict.fromkeys(broken.nonzero()[:, 0].tolist(), told)

    def _judge(self, pool: InFlight, slots: Tensor, candidates: Tensor) -> Verdicts:
        problem = pool.problem
        verdicts = self._means.judge(
            self._job.threat,
            problem.x[slots],
            candidates,
            problem.label[slots],
            problem.goal[slots],
            problem.eps[slots],
        )
        pool.account.judged[slots] += 1
        if pool.account.luck is not None:
            denied = verdicts.admissible & ~verdicts.success
            pool.account.luck.better(slots[denied], verdicts.share[denied], verdicts.points[denied])
        return verdicts

    def _pushed(self, pool: InFlight, slots: Tensor, points: Tensor, verdicts: Verdicts) -> Verdicts:
        """Where the file denies a point on the twin's boundary, try a little further out."""
        for factor in PUSHES:
            rows = (~verdicts.fooled).nonzero()[:, 0]
            if rows.numel() == 0:
                break
            part = pool.problem.take(slots[rows])
            further = part.clip(part.x + (points[rows] - part.x) * factor)
            verdicts = verdicts.replaced(rows, self._judge(pool, slots[rows], further))
        return verdicts

    def _release(self, pool: InFlight) -> InFlight | None:
        """Drop the higher siblings of successful units."""
        keep = torch.tensor([unit.sample not in self._won or unit < self._won[unit.sample] for unit in pool.units])
        if bool(keep.all()):
            return pool
        return pool.take(keep.to(pool.problem.x.device)) if bool(keep.any()) else None
