"""Input gradients: of a loss, or of some classes' logits, past rivals that no step reaches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Gradient, Jacobian
from robaudit.engine.climbed import Climbed
from robaudit.engine.escape import Asked, all_usual, escape_gradient, escape_rows, unusual
from robaudit.engine.models import Differentiable, Ensemble
from robaudit.engine.precision import Precision, searching
from robaudit.engine.refusals import REFUSALS, Refusals
from robaudit.engine.rivals import Escape, steepness, towards
from robaudit.engine.rows import Account, Rows, spread
from robaudit.engine.taken import Repeated, Taken, averaged, repeated
from robaudit.threat.losses import dlr
from robaudit.threat.masked import is_masked
from robaudit.threat.norms import per_slot, select

__all__ = ["Each", "Slopes", "logits_of"]


class Each(Protocol):
    """Runs over micro-batches of points."""

    def __call__(self, points: Tensor | Repeated, run: Callable[[Tensor, slice], Any], size: int = 1, /) -> list[Any]:
        """The result of each micro-batch; a point becomes so many rows of the model."""


def logits_of(model: Differentiable, points: Tensor, looks: int, precision: Precision, each: Each) -> Tensor:
    """[N, K] of points [N, *shape], averaged over so many looks at a random model."""

    def run(points: Tensor, part: slice) -> Tensor:
        with searching(precision, points.device):
            return model.logits(points).to(points.dtype)

    parts = each(repeated(points, looks), run)
    return averaged(parts[0] if len(parts) == 1 else torch.cat(parts), looks)


@dataclass(frozen=True)
class Slopes:
    """The rows of a request whose gradients are wanted.

    Args:
        model: differentiated.
        problem: the slots.
        rows: the points.
        account: billed in place.
        taken: how the gradients are taken.
        apart: the logits are to be those of the points themselves, and not of what the gradients are taken through.
        precision: that the model runs in.
        each: runs over micro-batches.
        refusals: records backward passes that raise.
    """

    model: Differentiable
    problem: Problem
    rows: Rows
    account: Account
    taken: Taken
    apart: bool
    precision: Precision
    each: Each
    refusals: Refusals

    @property
    def slot(self) -> Tensor:
        """[N] int64 slot of each row."""
        return self.rows.slots(len(self.problem))

    @property
    def copies(self) -> int:
        """Gradients that are taken at each point."""
        return self.taken.how.gradients

    def gradients(self, request: Gradient) -> tuple[Answer, bool]:
        """The answer, and whether all gradients are finite and lead somewhere."""
        assert request.loss is not None
        problem, rows, copies = self.problem, self.rows, self.copies
        count = rows.counts(len(problem))
        self.account.forwards += count * (copies + self.apart)
        self.account.backwards += count * copies

        climbed = Climbed.of(request, problem, rows, copies)

        def run(points: Tensor, part: slice) -> tuple[Tensor, ...]:
            points = points.detach().requires_grad_()
            with torch.enable_grad(), searching(self.precision, points.device):
                answers = self._answers(self.taken.seen(points, part), several=climbed.shares is not None)
                answers = answers.to(points.dtype)
            logits = answers.detach()
            value, slope = climbed.sloped(logits, part)
            (gradient,) = self._slopes(answers, (points,), len(points), slope)
            weight = slope.abs().sum(-1)
            if logits.dim() == 3:
                logits, weight = logits.mean(0), weight.sum(0)
            # convolutions return other strides, which would slow every later step down
            return logits, value, gradient.contiguous(), weight

        logits, loss, gradient, weight = self._means(run)
        found = gradient = self._free(gradient)
        steep, ratios = steepness(gradient), self._ratios(request)
        usual = ratios is None and all_usual(logits, weight, steep)
        sound = usual and climbed.closed is not None and not self.apart
        if not usual:
            asked = self._asked()
            usual = not bool(unusual(asked, logits, weight, steep, ratios).any())
            if not usual and problem.classes > 2:  # of two there is no other rival
                loss, gradient = escape_gradient(asked, logits, weight, loss, gradient, ratios)
        gradient = self._smoothed(gradient)
        if gradient is not found:
            steep, sound = steepness(gradient), False
        return spread(problem, rows, self._here(logits), loss, gradient, steep, sound=sound), usual

    def _means(self, run: Callable[[Tensor, slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The means over the copies [N, ...] of what is found of each [M, ...]; only a micro-batch is in memory.

        A copy that has no finite loss or slope does not count; NaN where none has them.
        """
        if self.copies == 1:
            parts = self.each(self.rows.points, run)
            return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
        points, totals = Repeated(self.rows.points, self.copies), list[Tensor]()
        counted = self.rows.points.new_zeros(len(points.points))

        def add(copies: Tensor, part: slice) -> None:
            found = run(copies, part)
            if not totals:
                totals.extend(values.new_zeros(len(points.points), *values.shape[1:]) for values in found)
            finite = torch.stack([values.reshape(len(values), -1).isfinite().all(1) for values in found[1:3]]).all(0)
            counted.index_add_(0, points.rows(part), finite.to(counted))
            for total, values in zip(totals, found, strict=True):
                total.index_add_(0, points.rows(part), select(finite, values, torch.zeros_like(values)))

        self.each(points, add)
        return tuple(total / per_slot(counted, total).to(total.dtype) for total in totals)

    def _free(self, gradient: Tensor) -> Tensor:
        """Gradients [N, *shape] or rows [N, C, *shape] within the sets: no step is spent where nothing moves."""
        problem, points = self.problem, self.rows.points
        if problem.fixed is None and not problem.joint:
            return gradient
        each = gradient.shape[1] if gradient.dim() > points.dim() else 1
        flat = gradient.reshape(-1, *problem.shape)
        return problem.free(flat, repeated(points, each), repeated(self.slot, each)).reshape(gradient.shape)

    def _smoothed(self, gradient: Tensor) -> Tensor:
        """The same after what the transforms do to gradients, which comes last: none has to know of it."""
        if not self.taken.how.through:
            return gradient
        flat = gradient.reshape(-1, *self.problem.shape)
        return self._free(self.taken.smoothed(flat).reshape(gradient.shape))

    def _answers(self, seen: Tensor, *, several: bool) -> Tensor:
        """Logits [N, K] of points; of an ensemble whose losses are fused (``several``, or as is asked) [M, N, K]."""
        if isinstance(self.model, Ensemble) and (several or self.taken.how.fusion == "losses"):
            return self.model.several(seen)
        return self.model.logits(seen)

    def _asked(self) -> Asked:
        return Asked(self.problem, self.rows, self._search, self.account, self.copies)

    def _search(
        self, places: Tensor, reference: Tensor, size: Tensor | None = None, steep: Tensor | None = None
    ) -> Escape:
        """Looks at some of the points for a rival within reach, see :func:`towards`."""
        copies, taken, slots = self.copies, self.taken.some(places), self.slot[places]

        def run(points: Tensor, part: slice) -> Escape:
            points = points.detach().requires_grad_()
            with torch.enable_grad(), searching(self.precision, points.device):
                copied = slice(part.start * copies, part.stop * copies)
                logits = self.model.logits(taken.seen(repeated(points, copies), copied)).to(points.dtype)

            def slope(weights: Tensor) -> Tensor:
                shares = repeated(weights, copies) / copies
                (gradient,) = self._slopes(logits, (points,), len(points), shares, retain=True)
                return self.problem.free(gradient, points.detach(), slots[part])

            clean = averaged(logits.detach(), copies)
            there = (None if size is None else size[part], None if steep is None else steep[part])
            return towards(clean, reference[part], slope, *there)

        return Escape.joined(self.each(self.rows.points[places], run, copies))

    def jacobian(self, request: Jacobian) -> Answer:
        """One backward a class: on a CPU, a batched backward is no faster where the model is more than tiny."""
        assert request.classes is not None
        problem, rows = self.problem, self.rows
        sloped = rows.wanted if request.slopes is None else rows.wanted & request.slopes
        sloping = sloped.reshape(len(problem), -1).sum(1)
        looks = self.taken.how.looks
        self.account.forwards += sloping * (self.copies + self.apart) + (rows.counts(len(problem)) - sloping) * looks
        self.account.backwards += sloping * request.classes.shape[1] * self.copies
        wants = sloped if rows.whole else sloped[rows.wanted]
        if request.slopes is None or bool(wants.all()):
            logits, jacobian, classes, base = self._class_rows(request)
        else:
            classes, base = request.classes, request.base
            with torch.no_grad():
                plain = logits_of(self.model, rows.points[~wants], looks, self.precision, self.each)
            logits = plain.new_zeros(len(wants), plain.shape[1])
            logits[~wants] = plain
            jacobian = rows.points.new_zeros(len(wants), request.classes.shape[1], *problem.shape)
            if bool(wants.any()):
                some = dataclasses.replace(rows, points=rows.points[wants], slot=self.slot[wants])
                part = dataclasses.replace(self, rows=some, taken=self.taken.some(wants))
                logits[wants], jacobian[wants], classes, base = part._class_rows(request)
        jacobian = self._smoothed(jacobian)
        answer = spread(problem, rows, logits, None, jacobian, steepness(jacobian))
        return dataclasses.replace(answer, classes=classes, base=base)

    def _class_rows(self, request: Jacobian) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Logits [N, K] and rows [N, C, *shape] of flat points [N, *shape]; of every slot the classes and the base."""
        assert request.classes is not None
        problem, slot = self.problem, self.slot
        each = repeated(slot, self.copies)
        classes = request.classes[each]
        base = None if request.base is None else request.base[each]

        def run(points: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            points = points.detach().requires_grad_()
            with torch.enable_grad(), searching(self.precision, points.device):
                logits = self.model.logits(self.taken.seen(points, part)).to(points.dtype)
                rows = logits.gather(1, classes[part].clamp_min(0))
                total = torch.where(is_masked(logits), 0.0, logits).sum(1, keepdim=True)
                rows = torch.where(classes[part] < 0, total, rows)
                if base is not None:
                    rows = rows - logits.gather(1, base[part][:, None])
                totals = rows.sum(0).unbind()
                grads = [
                    self._slopes(total, (points,), len(points), retain=c + 1 < len(totals))[0]
                    for c, total in enumerate(totals)
                ]
            return logits.detach(), torch.stack(grads, 1)

        logits, jacobian = self._means(run)
        jacobian = self._free(jacobian)
        if request.base is None or problem.classes < 3:
            return self._here(logits), jacobian, request.classes, request.base
        asked = self._asked()
        named, off, jacobian = escape_rows(asked, logits, request.classes[slot], request.base[slot], jacobian)
        return (
            self._here(logits),
            jacobian,
            request.classes.index_copy(0, slot, named),
            request.base.index_copy(0, slot, off),
        )

    def _here(self, logits: Tensor) -> Tensor:
        """Logits [N, K] at the points themselves, given those that the gradients were taken of."""
        if not self.apart:
            return logits
        with torch.no_grad():
            return logits_of(self.model, self.rows.points, self.taken.how.looks, self.precision, self.each)

    def _slopes(
        self, of: Tensor, by: tuple[Tensor, ...], rows: int, shares: Tensor | None = None, *, retain: bool = False
    ) -> tuple[Tensor, ...]:
        """The gradients of a backward pass; NaN where one of a single row raises, as a point without a slope has it.

        Raises:
            RuntimeError: it raises for several rows, each of which is to be tried alone.
        """
        try:
            return torch.autograd.grad(of, by, shares, retain_graph=retain)
        except REFUSALS as error:
            if rows > 1:
                raise
            self.refusals.add(error)
            return tuple(torch.full_like(values, torch.nan) for values in by)

    def _ratios(self, request: Gradient) -> Tensor | None:
        """[N] bool: the rows that climb the difference-of-logits ratio; None: no row does."""
        if request.loss is dlr:
            return torch.ones_like(self.slot, dtype=torch.bool)
        if request.choice is None or not isinstance(request.loss, tuple) or dlr not in request.loss:
            return None
        return request.choice[self.slot] == request.loss.index(dlr)
