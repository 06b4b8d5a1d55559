"""Answers requests: flattens the rows of all slots into micro-batches and bills every row to its slot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Jacobian, Labels, Logits, ModelRef, Request, Scores
from robaudit.engine.beside import beside
from robaudit.engine.careful import Careful
from robaudit.engine.escape import Asked, Escape, Search, escape_gradient, escape_rows, towards
from robaudit.engine.models import AuditedFile, Differentiable
from robaudit.engine.partly import partly
from robaudit.engine.precision import Precision, searching
from robaudit.engine.rows import Account, Rows, flatten, spread
from robaudit.errors import AuditError
from robaudit.threat.masked import is_masked
from robaudit.threat.model import Access

__all__ = ["Evaluator"]

T = TypeVar("T")


class Evaluator:
    """The only place where a model is called on behalf of an attack.

    Args:
        target: the file under audit.
        surrogates: the model behind ``ModelRef.SURROGATES``.
        micro_batch: most rows of one model call; halved when memory runs out.
        precision: that the differentiable models run in.
    """

    def __init__(
        self,
        target: AuditedFile,
        micro_batch: int,
        surrogates: Differentiable | None = None,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        self.target = target
        self.surrogates = surrogates
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
        draws: int = 1,
    ) -> Answer:
        """Evaluate a request.

        Args:
            request: of all slots.
            problem: the slots.
            access: declared by the attack.
            account: billed in place.
            budget: most queries of each slot; points past it stay unanswered.
            draws: of a random model, averaged at every point of a differentiable request and each billed:
                expectation over transformation (Athalye, Engstrom, Ilyas, Kwok 2018, section 2.2).

        Raises:
            AuditError: the request is outside the declared access, or names a surrogate where none is.
        """
        self._admit(request, access)
        if isinstance(request, Gradient) and request.plain:
            return partly(request, problem, lambda part: self.answer(part, problem, access, account, budget, draws))
        answer = self._answer(request, problem, account, budget, draws)
        if not isinstance(request, Gradient | Jacobian):
            return answer

        def ask(request: Gradient | Jacobian) -> Answer:
            return self._answer(request, problem, account, budget, draws, careful=True)

        return beside(request, answer, problem, account, ask)

    def _answer(
        self,
        request: Request,
        problem: Problem,
        account: Account,
        budget: int | None,
        draws: int,
        *,
        careful: bool = False,
    ) -> Answer:
        """As :meth:`answer`, of the very points; ``careful``: by a :class:`Careful` model."""
        rows = flatten(request, problem, account, budget)
        if isinstance(request, Scores | Labels):
            account.queries += rows.wanted.reshape(len(problem), -1).sum(1)
            scores = self._chunks(rows.points, lambda x, _: self.target.scores(x))
            return spread(problem, rows, scores, labels_alone=isinstance(request, Labels))
        each = rows.wanted.numel() // len(problem)
        count = (each if rows.whole else rows.wanted.reshape(len(problem), -1).sum(1)) * draws
        account.forwards += count
        model = self._model(request.model)
        if careful:
            model = Careful(model)
        if isinstance(request, Jacobian):
            return self._jacobian(model, request, problem, rows, account, draws)
        if isinstance(request, Gradient):
            assert request.loss is not None
            account.backwards += count
            logits, loss, gradient = self._gradients(model, request, problem, rows, account, draws)
            return spread(problem, rows, logits, loss, gradient)
        with torch.no_grad():
            logits = self._logits(model, rows.points, draws)
        return spread(problem, rows, logits)

    def _admit(self, request: Request, access: Access) -> None:
        known = isinstance(request, Gradient | Jacobian | Logits | Scores | Labels)
        model_ok = (request.model is ModelRef.SURROGATES) == (access is Access.TRANSFER)
        if not known or access not in request.access or not model_ok:
            raise AuditError(f"a {type(request).__name__} request to the {request.model} is outside {access} access")

    def _model(self, ref: ModelRef) -> Differentiable:
        if ref is ModelRef.TARGET:
            return self.target
        if self.surrogates is None:
            raise AuditError("the attack needs a surrogate; give one with --surrogate FILE")
        return self.surrogates

    def _logits(self, model: Differentiable, points: Tensor, draws: int) -> Tensor:
        return _averaged(self._chunks(_repeated(points, draws), lambda x, _: self._call(model, x)), draws)

    def _call(self, model: Differentiable, points: Tensor) -> Tensor:
        with searching(self.precision, points.device):
            return model.logits(points).to(points.dtype)

    def _chunks(self, points: Tensor, run: Callable[[Tensor, slice], Tensor]) -> Tensor:
        results = self._each(points, run)
        return results[0] if len(results) == 1 else torch.cat(results)

    def _each(self, points: Tensor, run: Callable[[Tensor, slice], T]) -> list[T]:
        """Run over micro-batches; out of memory halves them and goes on."""
        if points.shape[0] == 0:
            raise AuditError("the attack asked for no point at all")
        results: list[T] = []
        start = 0
        while start < points.shape[0]:
            part = slice(start, min(start + self.micro_batch, points.shape[0]))
            try:
                results.append(run(points[part], part))
            except RuntimeError as error:
                if self.micro_batch == 1 or not _out_of_memory(error):
                    raise
                self.micro_batch = max(1, self.micro_batch // 2)
                self.halvings += 1
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            start = part.stop
        return results

    def _gradients(
        self, model: Differentiable, request: Gradient, problem: Problem, rows: Rows, account: Account, draws: int
    ) -> tuple[Tensor, Tensor, Tensor]:

        def each(values: Tensor) -> Tensor:
            return _repeated(rows.of(values), draws)

        points, label = _repeated(rows.points, draws), each(problem.label)
        target = each(problem.target if request.target is None else request.target)
        choice = None if request.choice is None else each(request.choice)
        fixed = None if problem.fixed is None else each(problem.fixed)

        def run(points: Tensor, part: slice) -> tuple[Tensor, ...]:
            points = points.detach().requires_grad_()
            with torch.enable_grad(), searching(self.precision, points.device):
                logits = model.logits(points).to(points.dtype)
                value = _loss(request, logits, label[part], target[part], None if choice is None else choice[part])
                weight, gradient = torch.autograd.grad(value.sum(), (logits, points))
            if fixed is not None:  # no step may be spent where nothing moves
                gradient = gradient.masked_fill(fixed[part], 0.0)
            # convolutions return other strides, which would slow every later step down
            return logits.detach(), value.detach(), gradient.contiguous(), weight.abs().sum(1)

        parts = self._each(points, run)
        found = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        logits, loss, gradient, weight = (_averaged(values, draws) for values in found)
        if problem.classes > 2:  # of two there is no other rival
            slot = torch.arange(len(problem), device=rows.points.device) if rows.slot is None else rows.slot
            asked = Asked(problem, slot, self._search(model, problem, rows.points, slot, draws), account, draws)
            loss, gradient = escape_gradient(asked, logits, weight, loss, gradient)
        return logits, loss, gradient

    def _search(
        self, model: Differentiable, problem: Problem, points: Tensor, slot: Tensor, draws: int
    ) -> Search:
        """Looks at some of the points [N, *shape] for a rival with a slope."""

        def search(places: Tensor, reference: Tensor, size: Tensor, steep: Tensor) -> Escape:
            fixed = None if problem.fixed is None else problem.fixed[slot[places]]

            def run(points: Tensor, part: slice) -> Escape:
                points = points.detach().requires_grad_()
                with torch.enable_grad(), searching(self.precision, points.device):
                    logits = model.logits(_repeated(points, draws)).to(points.dtype)

                def slope(weights: Tensor) -> Tensor:
                    shares = _repeated(weights, draws) / draws
                    (gradient,) = torch.autograd.grad(logits, points, shares, retain_graph=True)
                    return gradient if fixed is None else gradient.masked_fill(fixed[part], 0.0)

                clean = _averaged(logits.detach(), draws)
                return towards(clean, reference[part], slope, size[part], steep[part])

            return Escape.joined(self._each(points[places], run))

        return search

    def _jacobian(
        self, model: Differentiable, request: Jacobian, problem: Problem, rows: Rows, account: Account, draws: int
    ) -> Answer:
        """One backward a class: on a CPU, a batched backward is no faster where the model is more than tiny."""
        assert request.classes is not None
        sloped = rows.wanted if request.slopes is None else rows.wanted & request.slopes
        account.backwards += sloped.reshape(len(problem), -1).sum(1) * request.classes.shape[1] * draws
        slot = torch.arange(len(problem), device=rows.points.device) if rows.slot is None else rows.slot
        wants = sloped if rows.whole else sloped[rows.wanted]
        if request.slopes is None or bool(wants.all()):
            logits, jacobian, classes, base = self._class_rows(
                model, request, problem, rows.points, slot, draws, account
            )
        else:
            classes, base = request.classes, request.base
            with torch.no_grad():
                plain = self._logits(model, rows.points[~wants], draws)
            logits = plain.new_zeros(len(wants), plain.shape[1])
            logits[~wants] = plain
            jacobian = rows.points.new_zeros(len(wants), request.classes.shape[1], *problem.shape)
            if bool(wants.any()):
                asked = rows.points[wants], slot[wants], draws, account
                part = self._class_rows(model, request, problem, *asked)
                logits[wants], jacobian[wants], classes, base = part
        answer = spread(problem, rows, logits, None, jacobian)
        return dataclasses.replace(answer, classes=classes, base=base)

    def _class_rows(
        self,
        model: Differentiable,
        request: Jacobian,
        problem: Problem,
        points: Tensor,
        slot: Tensor,
        draws: int,
        account: Account,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Logits [N, K] and rows [N, C, *shape] of flat points [N, *shape]; of every slot the classes and the base."""
        assert request.classes is not None
        each = _repeated(slot, draws)
        classes = request.classes[each]
        base = None if request.base is None else request.base[each]
        fixed = None if problem.fixed is None else problem.fixed[each][:, None]

        def run(points: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            points = points.detach().requires_grad_()
            with torch.enable_grad(), searching(self.precision, points.device):
                logits = model.logits(points).to(points.dtype)
                rows = logits.gather(1, classes[part].clamp_min(0))
                total = torch.where(is_masked(logits), 0.0, logits).sum(1, keepdim=True)
                rows = torch.where(classes[part] < 0, total, rows)
                if base is not None:
                    rows = rows - logits.gather(1, base[part][:, None])
                totals = rows.sum(0).unbind()
                grads = [
                    torch.autograd.grad(total, points, retain_graph=c + 1 < len(totals))[0]
                    for c, total in enumerate(totals)
                ]
            jacobian = torch.stack(grads, 1)
            return logits.detach(), jacobian if fixed is None else jacobian.masked_fill(fixed[part], 0.0)

        found = map(torch.cat, zip(*self._each(_repeated(points, draws), run), strict=True))
        logits, jacobian = (_averaged(values, draws) for values in found)
        if request.base is None or problem.classes < 3:
            return logits, jacobian, request.classes, request.base
        asked = Asked(problem, slot, self._search(model, problem, points, slot, draws), account, draws)
        named, off, jacobian = escape_rows(asked, logits, request.classes[slot], request.base[slot], jacobian)
        return logits, jacobian, request.classes.index_copy(0, slot, named), request.base.index_copy(0, slot, off)


def _repeated(rows: Tensor, draws: int) -> Tensor:
    return rows if draws == 1 else rows.repeat_interleave(draws, 0)


def _averaged(values: Tensor, draws: int) -> Tensor:
    """Over the draws of each row."""
    return values if draws == 1 else values.reshape(-1, draws, *values.shape[1:]).mean(1)


def _loss(request: Gradient, logits: Tensor, label: Tensor, target: Tensor, choice: Tensor | None) -> Tensor:
    """The value [N] of each row's own loss."""
    if choice is None:
        assert callable(request.loss), "several losses need a choice"
        return request.loss(logits, label, target)
    assert isinstance(request.loss, tuple), "a choice needs several losses"
    # which of them occur would be a wait on a GPU, where all are as quick as one
    used = sorted(set(choice.tolist())) if choice.device.type == "cpu" else range(len(request.loss))
    first, *rest = ((i, request.loss[i](logits, label, target)) for i in used)
    value = first[1]
    for i, other in rest:
        value = torch.where(choice == i, other, value)
    return value


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a type for it; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
