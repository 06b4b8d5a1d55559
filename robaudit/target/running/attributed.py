"""An auxiliary model whose work is told as its own: what hangs or crashes in it costs it alone."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from robaudit.target.running.watch import Watch

__all__ = ["Attributed", "Differentiable"]


class Differentiable(Protocol):
    """A model with an input gradient: the target's torch twin, or a surrogate."""

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        ...


class Attributed:
    """Another model with the same answers, whose calls and backward passes a watch is notified of.

    Args:
        model: a surrogate, or a stand-in.
        watch: told.
        key: of the model.
    """

    def __init__(self, model: Differentiable, watch: Watch, key: str) -> None:
        self._model, self._watch, self._key = model, watch, key

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        if not u.requires_grad:
            with self._watch.auxiliary(self._key):
                return self._model.logits(u)
        before = self._watch.blamed
        entered = u.view_as(u)  # the way back ends here
        entered.register_hook(lambda _: self._watch.blame(before))  # type: ignore[no-untyped-call]
        with self._watch.auxiliary(self._key):
            logits = self._model.logits(entered)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._watch.blame(self._key))  # type: ignore[no-untyped-call]
        return logits
