"""Answers requests: flattens the rows of all slots into micro-batches and bills every row to its slot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Jacobian, Labels, Logits, ModelRef, Request, Scores
from robaudit.engine.beside import beside
from robaudit.engine.careful import Careful
from robaudit.engine.models import Ensemble
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.partly import partly
from robaudit.engine.precision import Precision
from robaudit.engine.refusals import REFUSALS, out_of_memory
from robaudit.engine.rows import Account, Rows, flatten, spread
from robaudit.engine.served import Repeats, afresh, answer_of, answered, note_seen, told
from robaudit.engine.slopes import Slopes, logits_of
from robaudit.engine.taken import Repeated, Taken
from robaudit.errors import AuditError, UsageError
from robaudit.threat.model import Access

__all__ = ["Evaluator"]

T = TypeVar("T")


class Evaluator:
    """Answers the requests of attacks.

    Args:
        oracle: asks the models.
        micro_batch: most rows of one model call; halved when memory runs out.
        precision: that the differentiable models run in.
    """

    def __init__(
        self,
        oracle: Oracle,
        micro_batch: int,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        self._oracle = oracle
        self.micro_batch = micro_batch
        self.precision = precision
        self.halvings = 0

    def answer(
        self,
        request: Request,
        problem: Problem,
        access: Access,
        account: Account,
        budget: int | None,
        *,
        prior: bool = False,
    ) -> Answer:
        """Evaluate a request.

        Args:
            request: of all slots.
            problem: the slots.
            access: declared by the attack.
            account: billed in place.
            budget: most queries of each slot; points past it stay unanswered.
            prior: gradients of surrogates may be asked for too.

        Raises:
            AuditError: the request is outside the declared access, or names a surrogate where none is.
        """
        self._admit(request, access, prior=prior)
        if isinstance(request, Gradient) and request.plain:
            whole = partial(self.answer, problem=problem, access=access, account=account, budget=budget, prior=prior)
            return partly(request, problem, whole)
        answer, usual = self._answer(request, problem, account, budget)
        if not usual and isinstance(request, Gradient | Jacobian):
            answer = self._beside(request, answer, problem, account, budget)
        return self._suspected(request, answer, account) if isinstance(request, Gradient) else answer

    def _beside(
        self, request: Gradient | Jacobian, answer: Answer, problem: Problem, account: Account, budget: int | None
    ) -> Answer:
        """The answer with gradients of points beside, where its own lead nowhere."""

        def ask(request: Gradient | Jacobian) -> Answer:
            return self._answer(request, problem, account, budget, careful=True)[0]

        return beside(request, answer, problem, account, ask)

    def _answer(
        self,
        request: Request,
        problem: Problem,
        account: Account,
        budget: int | None,
        *,
        careful: bool = False,
    ) -> tuple[Answer, bool]:
        """As :meth:`answer`, of the very points, and whether no other may be needed for a gradient.

        ``careful``: by a :class:`Careful` model.
        """
        if isinstance(request, Scores | Labels):
            return self._queried(request, problem, account, budget), True
        rows = flatten(request, problem, account, budget)
        assert isinstance(request, Logits | Gradient | Jacobian)
        model = self._oracle.differentiable(request.model, request.how)
        if careful:
            model = model.mapped(Careful) if isinstance(model, Ensemble) else Careful(model)
        if isinstance(request, Logits):
            account.forwards += rows.counts(len(problem)) * request.how.looks
            with torch.no_grad():
                logits = logits_of(model, rows.points, request.how.looks, self.precision, self._each)
            return spread(problem, rows, logits), True
        # a surrogate's answer at the point itself would decide nothing
        apart = request.how.apart and request.model is ModelRef.TARGET
        taken = Taken.of(request.how, problem, rows, account)
        slopes = Slopes(model, problem, rows, account, taken, apart, self.precision, self._each, self._oracle.refusals)
        if isinstance(request, Jacobian):
            answer = slopes.jacobian(request)
            assert answer.steep is not None
            return answer, bool(((answer.steep > 0) & answer.steep.isfinite()).all())
        return slopes.gradients(request)

    def _suspected(self, request: Gradient, answer: Answer, account: Account) -> Answer:
        """The answer with what the detector's stand-in says of the points, and its gradient, where there is one."""
        guard, points = self._oracle.guard, request.points
        if not request.suspicion or guard is None or not guard.differentiable:
            return answer
        account.forwards += 1
        account.backwards += 1
        parts = self._each(points, lambda part, _: guard.excess(part))
        value, gradient = (torch.cat([part[place] for part in parts]) for place in (0, 1))
        return dataclasses.replace(answer, suspicion=value, suspicion_gradient=gradient)

    def _queried(self, request: Scores | Labels, problem: Problem, account: Account, budget: int | None) -> Answer:
        """The answer to queries, as far as the service gives it; those that repeat earlier ones cost no run."""
        oracle, ledgers = self._oracle, account.ledgers
        free = oracle.service.free_repeats and ledgers is not None
        rows = self._asked(request, problem, account, None if free else budget)

        def ask(points: Tensor) -> Tensor:
            return self._chunks(points, lambda x, _: oracle.ask(x, Purpose.SEARCH).scores)

        if ledgers is None:
            account.queries += rows.wanted.reshape(len(problem), -1).sum(1)
            return answer_of(problem, rows, told(oracle, request, problem, rows, ask(rows.points)), request)
        repeats = Repeats.of(oracle.as_input(rows.points), rows, problem, ledgers)
        charged = rows.wanted
        if free:
            charged = repeats.charged(rows)
            rows = self._asked(request, problem, account, budget, charged)
            repeats = Repeats.of(oracle.as_input(rows.points), rows, problem, ledgers)
        account.queries += (rows.wanted & charged).reshape(len(problem), -1).sum(1)
        scores = answered(rows, repeats, ledgers, ask) if oracle.repeats_itself else afresh(rows, repeats, ledgers, ask)
        found = told(oracle, request, problem, rows, scores, repeats.keys)
        note_seen(rows, repeats, found, problem, ledgers, free=free)
        return answer_of(problem, rows, found, request)

    def _asked(
        self, request: Request, problem: Problem, account: Account, budget: int | None, charged: Tensor | None = None
    ) -> Rows:
        """The rows of a query, as inputs that the file can be given, with whole numbers where those are due."""
        rows = flatten(request, problem, account, budget, charged)
        points = self._oracle.snap(rows.points, rows.of(problem.x)) if self._oracle.whole else rows.points
        rows.points = points.contiguous()  # once for all that reads them
        return rows

    def _admit(self, request: Request, access: Access, *, prior: bool) -> None:
        known = isinstance(request, Gradient | Jacobian | Logits | Scores | Labels)
        if prior and request.model is ModelRef.SURROGATES:
            access = Access.TRANSFER
        model_ok = (request.model is ModelRef.SURROGATES) == (access is Access.TRANSFER)
        if not known or access not in request.access or not model_ok:
            raise AuditError(f"a {type(request).__name__} request to the {request.model} is outside {access} access")

    def _chunks(self, points: Tensor, run: Callable[[Tensor, slice], Tensor]) -> Tensor:
        results = self._each(points, run)
        return results[0] if len(results) == 1 else torch.cat(results)

    def _each(self, points: Tensor | Repeated, run: Callable[[Tensor, slice], T], size: int = 1) -> list[T]:
        """Run over micro-batches; out of memory halves them and goes on, and what fails otherwise is run row by row.

        ``size``: how many rows of the model ``run`` makes of each point.
        """
        if len(points) == 0:
            raise AuditError("the attack asked for no point at all")
        results: list[T] = []
        start = 0
        while start < len(points):
            part = slice(start, min(start + max(1, self.micro_batch // size), len(points)))
            try:
                results.append(run(points[part], part))
            except (AuditError, UsageError):
                raise
            except REFUSALS as error:
                if not out_of_memory(error) and part.stop - part.start > 1:
                    ones = [slice(i, i + 1) for i in range(part.start, part.stop)]
                    results += [run(points[one], one) for one in ones]
                    start = part.stop
                    continue
                if self.micro_batch == 1 or not out_of_memory(error):
                    raise
                self.micro_batch = max(1, self.micro_batch // 2)
                self.halvings += 1
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            start = part.stop
        return results
