"""The losses that the rows of a request climb: their values, and their slopes in the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Gradient
from robaudit.engine.rows import Rows
from robaudit.engine.taken import repeated
from robaudit.threat.losses import SLOPES, Sloped

__all__ = ["Climbed"]


@dataclass(frozen=True)
class Climbed:
    """The losses of a request's rows, each copied as often as gradients of it are taken.

    Args:
        request: that names them.
        label: [N] int64 reference class.
        target_class: [N] int64 class aimed at, -1: none.
        aimed: whether any row has such a class.
        choice: [N] int64 which of several losses; None: there is one.
        shares: [N, M] weights of an ensemble's models; None: they are equal.
    """

    request: Gradient
    label: Tensor
    target_class: Tensor
    aimed: bool
    choice: Tensor | None
    shares: Tensor | None

    @classmethod
    def of(cls, request: Gradient, problem: Problem, rows: Rows, copies: int) -> Climbed:
        """The losses of a request's rows."""

        def each(values: Tensor) -> Tensor:
            return repeated(rows.of(values), copies)

        return cls(
            request,
            each(problem.label),
            each(problem.target_class if request.target_class is None else request.target_class),
            problem.aimed or request.target_class is not None,
            None if request.choice is None else each(request.choice),
            None if request.shares is None else each(request.shares),
        )

    @property
    def closed(self) -> Sloped | None:
        """What knows the slope in closed form, where there is one loss of one model's logits."""
        loss = self.request.loss
        return SLOPES.get(loss) if self.choice is None and self.shares is None and callable(loss) else None

    def sloped(self, logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Values [n] of a part of the rows, and their slopes in its logits [n, K], or in those of models [M, n, K]."""
        if logits.dim() == 2 and (closed := self.closed) is not None:
            return closed(logits, self.label[part], self.target_class[part] if self.aimed else None)
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            value = self._fused(leaf, part)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), slope

    def _fused(self, logits: Tensor, part: slice) -> Tensor:
        if logits.dim() == 2:
            return self._value(logits, part)
        values = torch.stack([self._value(of_one, part) for of_one in logits.unbind()])
        return values.mean(0) if self.shares is None else (values * self.shares[part].T).sum(0)

    def _value(self, logits: Tensor, part: slice) -> Tensor:
        """The value [n] of each row's own loss."""
        label, target_class, loss = self.label[part], self.target_class[part], self.request.loss
        if self.choice is None:
            assert callable(loss), "several losses need a choice"
            return loss(logits, label, target_class)
        assert isinstance(loss, tuple), "a choice needs several losses"
        choice = self.choice[part]
        # which of them occur would be a wait on a GPU, where all are as quick as one
        used = sorted(set(choice.tolist())) if choice.device.type == "cpu" else range(len(loss))
        first, *rest = ((i, loss[i](logits, label, target_class)) for i in used)
        value = first[1]
        for i, other in rest:
            value = torch.where(choice == i, other, value)
        return value
