"""The one loop that runs every slot attack: refill, ask, judge, update, cull."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, StartingPool, Stop
from robaudit.attacks.requests import Answer, Request
from robaudit.engine.cohorts import Cohorts
from robaudit.engine.escape import twin_by_rounding
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.judge import Judge, Verdicts
from robaudit.engine.pool import Pool, judged_result, result_of
from robaudit.engine.problems import problem_of
from robaudit.engine.rows import Account, over_points
from robaudit.engine.standin import stood_in
from robaudit.engine.tolerant import Refusals
from robaudit.engine.units import Sample, SampleSource, Sink, Unit, UnitResult, loaded, sample_of, still_standing
from robaudit.target.watch import RUNNING, UNWATCHED, Watch
from robaudit.threat.model import Access, Goal, ThreatModel

__all__ = ["Engine", "unit_budget"]

MAX_POINT_BYTES = 16 * 2**20
"""Most memory of a slot's points in one request."""
MAX_REQUEST_BYTES = 256 * 2**20
"""Most memory of all points in one request of an attack that asks for many at once."""
PUSHES = (1.0003, 1.003, 1.03, 1.1, 1.3, 1.7, 2.5, 4.0, 8.0, 16.0, 32.0)
"""How much further from the sample a minimal-norm attack's best point is tried where the file denies it: a little for
what the twin rounds otherwise, more for whole-numbered features, which the judge rounds towards the sample."""
NOT_FINITE = "the model's output or gradient is not finite at a point tried"
MOSTLY = "the model's output or gradient is not finite at most of the points tried"


class Engine:
    """Runs the units of an attack over samples.

    Args:
        evaluator: answers requests.
        judge: confirms successes on the file.
        slots: units in flight at once.
        seed: of all keyed random numbers.
        pool: samples that attacks may start from.
        watch: told which samples are asked.
        refusals: of the models, where they are tolerant.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        judge: Judge,
        slots: int,
        seed: int,
        pool: StartingPool,
        watch: Watch = UNWATCHED,
        refusals: Refusals | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.judge = judge
        self.slots = slots
        self.seed = seed
        self.pool = pool
        self.watch = watch
        self.refusals = refusals or Refusals()

    @property
    def classes(self) -> int:
        """Classes of the target."""
        return self.evaluator.target.num_classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample in u-space."""
        return tuple(self.pool.points.shape[1:])

    @property
    def shrunk_to(self) -> int | None:
        """Rows of one model call where memory ran out for as many as were asked for, else None."""
        return self.evaluator.micro_batch if self.evaluator.halvings else None

    def singly(self) -> Engine:
        """The same with one unit in flight."""
        return Engine(self.evaluator, self.judge, 1, self.seed, self.pool, self.watch, self.refusals)

    def run(
        self,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        units: Iterable[Unit],
        samples: SampleSource,
        sink: Sink,
        stop: Callable[[], bool] = lambda: False,
        won: dict[int, Unit] | None = None,
        key: str | None = None,
        finished: Collection[Unit] = (),
        draws: int = 1,
    ) -> bool:
        """Run units to their end; each finished one goes to ``sink`` at once, of a cohort all at its end.

        Args:
            attack: the update rule.
            threat: norm, radius and goal.
            units: lowest rank first; a success of a unit drops the sample's later ones, unless the smallest
                distance is sought.
            samples: loads a sample by its index; a :class:`RobauditError` costs that unit alone.
            sink: called once for every unit that finished.
            stop: asked between steps; True ends the run with the units in flight unfinished.
            won: units that succeeded in an earlier session, by sample.
            key: name that keys the random numbers; default the attack's id.
            draws: of a random model that every differentiable request averages.
            finished: those of the units that an earlier session carried to their end.

        Returns:
            Whether every unit was carried to its end.
        """
        won = {} if threat.minimal else dict(won or {})  # where a sibling may come nearer, none is released
        self._key = key or attack.id
        self._draws = draws
        self._budget = unit_budget(attack, threat)
        self._width = self._slots_of(attack)
        pool: Pool | None = None

        def emit(result: UnitResult) -> None:
            if result.success and not threat.minimal:
                best = won.get(result.unit.sample)
                won[result.unit.sample] = result.unit if best is None else min(best, result.unit)
            sink(result)

        if attack.cohort_size:
            cohorts = Cohorts(
                attack.cohort_size,
                samples,
                lambda fresh: self._start(fresh, attack, threat),
                lambda pool, sink: self._advance(pool, attack, threat, sink),
                stop,
            )
            return cohorts.run(units, emit, won, finished)
        pending = deque(unit for unit in units if unit not in finished)
        while pool is not None or pending:
            if stop():
                return False
            pool = self._refill(pool, pending, won, attack, threat, samples, emit)
            if pool is None:
                continue
            pool = self._step(pool, attack, threat, emit)
            if pool is not None and attack.unit_restarts * max(attack.unit_targets, 1) > 1:
                pool = self._release(pool, won)
        return True

    def _max_points(self) -> int:
        """Most points of a slot in one request: of the sample's size alone, so that no draw depends on the batch."""
        return int(max(1, min(64, MAX_POINT_BYTES // self._point_bytes())))

    def _point_bytes(self) -> int:
        return max(1, math.prod(self.shape)) * self.pool.points.element_size()

    def _slots_of(self, attack: SlotAttack[Any]) -> int:
        """Slots in flight; fewer for attacks on labels, which ask for many points at once."""
        if attack.access is not Access.LABELS:
            return self.slots
        return max(1, min(self.slots, MAX_REQUEST_BYTES // (self._max_points() * self._point_bytes())))

    def _refill(
        self,
        pool: Pool | None,
        pending: deque[Unit],
        won: dict[int, Unit],
        attack: SlotAttack[Any],
        threat: ThreatModel,
        samples: SampleSource,
        emit: Sink,
    ) -> Pool | None:
        """Fill free slots with the next units whose sample still stands."""
        free = self._width - (len(pool.units) if pool else 0)
        fresh: list[tuple[Unit, Sample]] = []
        while pending and len(fresh) < free:
            unit = pending.popleft()
            if still_standing(unit, won):
                fresh += loaded([unit], samples, emit)
        if not fresh:
            return pool
        new = self._start(fresh, attack, threat)
        return new if pool is None else pool.join(new)

    def _start(self, fresh: list[tuple[Unit, Sample]], attack: SlotAttack[Any], threat: ThreatModel) -> Pool:
        target = self.evaluator.target
        keys = [unit.key(self.seed, sample.digest, self._key) for unit, sample in fresh]
        problem = problem_of(fresh, keys, attack, threat, target, self._max_points(), self.pool)
        account = Account.empty(len(fresh), problem.x.device)
        return Pool([unit for unit, _ in fresh], problem, attack.init(problem), account)

    def _step(self, pool: Pool, attack: SlotAttack[Any], threat: ThreatModel, emit: Sink) -> Pool | None:
        """One request, its answer, the judge, the update; emits and removes what finished."""
        pool, gone = self._advance(pool, attack, threat, emit)
        if not bool(gone.any()):
            return pool
        return None if bool(gone.all()) else pool.take(~gone)

    def _advance(self, pool: Pool, attack: SlotAttack[Any], threat: ThreatModel, emit: Sink) -> tuple[Pool, Tensor]:
        """As :meth:`_step`, with what finished ([S] bool) still in the pool."""
        with self.watch.about(f"{self._key}{RUNNING}", [sample_of(unit.sample) for unit in pool.units]):
            self.refusals.last, self.refusals.doing = None, self._key
            return self._advanced(pool, attack, threat, emit)

    def _advanced(self, pool: Pool, attack: SlotAttack[Any], threat: ThreatModel, emit: Sink) -> tuple[Pool, Tensor]:
        problem, account = pool.problem, pool.account
        request = attack.query(problem, pool.state)
        answer, broken = self._answer(request, problem, attack, account)
        if request.candidates is not None:
            answer = dataclasses.replace(answer, fooled=answer.fooled & over_points(request.candidates, answer.fooled))
        if attack.stop is Stop.RUN_ON and (doubtful := twin_by_rounding(problem, answer)) is not None:
            answer = dataclasses.replace(
                answer, fooled=answer.fooled & ~doubtful
            )  # nobody asks the file before the end
        if problem.ended is not None:
            answer = dataclasses.replace(answer, fooled=answer.fooled & ~over_points(problem.ended, answer.fooled))
        accepted = torch.zeros_like(broken)
        if attack.stop is Stop.FIRST_SUCCESS and bool(answer.fooled.any()):
            answer, accepted = self._confirm(pool, attack, threat, answer, emit)
        state = attack.update(problem, pool.state, answer)
        pool = Pool(pool.units, problem, state, account)
        finished = attack.done(problem, state) & ~accepted
        if self._budget is not None:
            finished |= (account.queries >= self._budget) & ~accepted
        broken &= ~accepted
        finished |= broken
        if problem.ended is not None:
            finished &= ~problem.ended
        if bool(finished.any()):
            self._finish(pool, attack, threat, finished, broken, emit)
        return pool, finished | accepted

    def _answer(
        self, request: Request, problem: Problem, attack: SlotAttack[Any], account: Account
    ) -> tuple[Answer, Tensor]:
        """The answer, with that of a point nearby where it is not finite, and the slots [S] that this leaves broken.

        A point that the model refuses is one without a class.
        """

        def ask(request: Request) -> Answer:
            return self.evaluator.answer(request, problem, attack.access, account, self._budget, self._draws)

        answer, lost = stood_in(request, ask(request), problem, account, self._budget, ask)
        return answer, lost.reshape(len(problem), -1).any(1)

    def _confirm(
        self,
        pool: Pool,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        answer: Answer,
        emit: Sink,
    ) -> tuple[Answer, Tensor]:
        """Show each slot's first fooled point to the judge; denied ones become ``refused``."""
        problem = pool.problem
        fooled = answer.fooled.reshape(len(problem), -1)
        accepted = torch.zeros(len(problem), dtype=torch.bool, device=fooled.device)
        slots = fooled.any(1).nonzero()[:, 0]
        first = fooled.int().argmax(1)[slots]
        candidates = answer.points.reshape(len(problem), -1, *problem.shape)[slots, first]
        verdicts = self._judge(pool, threat, slots, candidates)
        pool.account.refused[slots] += (~verdicts.success).long()
        accepted[slots] = verdicts.success
        for row, slot in enumerate(slots.tolist()):
            if verdicts.success[row]:
                emit(judged_result(pool, slot, verdicts, row))
        refused = fooled & ~accepted[:, None]
        confirmed = (fooled & accepted[:, None]).reshape(answer.fooled.shape)
        denied = refused.reshape(answer.fooled.shape)
        return dataclasses.replace(answer, fooled=confirmed, refused=denied), accepted

    def _finish(
        self,
        pool: Pool,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        finished: Tensor,
        broken: Tensor,
        emit: Sink,
    ) -> None:
        """Emit finished slots; of a run-on attack, what it found before a broken slot's NaN counts."""
        why = self.refusals.last
        who = "a surrogate or the model" if attack.access is Access.TRANSFER else "the model"
        told = NOT_FINITE if why is None else f"{who} cannot answer a point tried: {why}"
        mostly = f"{MOSTLY}, or refused: {self.refusals.why}" if self.refusals.counts[self._key] else MOSTLY
        errors = dict.fromkeys((2 * pool.account.lost > pool.account.asked).nonzero()[:, 0].tolist(), mostly)
        errors |= dict.fromkeys(broken.nonzero()[:, 0].tolist(), told)
        if attack.stop is Stop.FIRST_SUCCESS:
            for i in finished.nonzero()[:, 0].tolist():
                emit(result_of(pool, i, False, error=errors.get(i)))
            return
        points, none = attack.best(pool.problem, pool.state)
        none = none | ~points.flatten(1).isfinite().all(1)
        for i in (finished & none).nonzero()[:, 0].tolist():
            emit(result_of(pool, i, False, error=errors.get(i)))
        slots = (finished & ~none).nonzero()[:, 0]
        if slots.numel() == 0:
            return
        transfer = attack.access is Access.TRANSFER
        if transfer:  # the one candidate shown to the target is a label query
            pool.account.queries[slots] += 1
        verdicts = self._judge(pool, threat, slots, points[slots])
        if attack.access is Access.WHITE_BOX:
            verdicts = self._pushed(pool, threat, slots, points[slots], verdicts)
        if not transfer:  # a hope is not refused, nor is a point outside of the ball: the attack has failed
            pool.account.refused[slots] += (~verdicts.fooled).long()
        for row, slot in enumerate(slots.tolist()):
            emit(judged_result(pool, slot, verdicts, row, errors.get(slot)))

    def _judge(self, pool: Pool, threat: ThreatModel, slots: Tensor, candidates: Tensor) -> Verdicts:
        problem = pool.problem
        verdicts = self.judge(
            threat,
            problem.x[slots],
            candidates,
            problem.label[slots],
            problem.goal[slots],
            problem.eps[slots],
        )
        pool.account.judged[slots] += 1
        return verdicts

    def _pushed(self, pool: Pool, threat: ThreatModel, slots: Tensor, points: Tensor, verdicts: Verdicts) -> Verdicts:
        """Where the file denies a point on the twin's boundary, try a little further out."""
        for factor in PUSHES:
            rows = (~verdicts.fooled).nonzero()[:, 0]
            if rows.numel() == 0:
                break
            part = pool.problem.take(slots[rows])
            further = part.clip(part.x + (points[rows] - part.x) * factor)
            verdicts = verdicts.replaced(rows, self._judge(pool, threat, slots[rows], further))
        return verdicts

    def _release(self, pool: Pool, won: dict[int, Unit]) -> Pool | None:
        """Drop the higher siblings of successful units."""
        keep = torch.tensor([unit.sample not in won or unit < won[unit.sample] for unit in pool.units])
        if bool(keep.all()):
            return pool
        return pool.take(keep.to(pool.problem.x.device)) if bool(keep.any()) else None


def unit_budget(attack: SlotAttack[Any], threat: ThreatModel) -> int | None:
    """Most queries of a unit: the attack's own, and an equal share of what the threat model allows a sample."""
    budgets = [] if attack.query_budget is None else [attack.query_budget]
    if threat.queries is not None:
        targets = max(attack.unit_targets, 1) if threat.goal is Goal.UNTARGETED else 1
        budgets.append(max(1, threat.queries // (attack.unit_restarts * targets)))
    return min(budgets, default=None)
