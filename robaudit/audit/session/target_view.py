"""The target as checks see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from robaudit.attacks.cost import Cost
from robaudit.audit.session.loaded import Loaded
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.measures.sparsity import zero_weights

__all__ = ["TargetView"]


@dataclass(frozen=True)
class TargetView:
    """A loaded target; see :class:`robaudit.checks.base.MeasuredTarget`."""

    loaded: Loaded
    fresh_state: bool = False
    bill: Callable[[Cost], None] = lambda _: None
    """Told what is asked of the model."""

    @property
    def head_kind(self) -> str:
        return str(self.loaded.target.head.kind)

    @property
    def opposite(self) -> str:
        return self.loaded.target.head.opposite

    @property
    def head_peeled(self) -> bool:
        return bool(self.loaded.target.head.peeled)

    @property
    def has_gradient(self) -> bool:
        return bool(self.loaded.target.gradient.available)

    @property
    def is_its_own_twin(self) -> bool:
        return bool(self.loaded.target.format not in ("onnx", "endpoint"))

    @property
    def eight_bit(self) -> bool:
        return bool(self.loaded.target.spec.kind == "image")

    @property
    def unsmooth(self) -> str | None:
        return self.loaded.target.unsmooth

    @property
    def smoothable(self) -> Mapping[str, Sequence[str]]:
        return self.loaded.target.smoothable

    @property
    def meaning(self) -> InputMeaning:
        return self.loaded.target.spec

    @property
    def cuts(self) -> Sequence[str]:
        return tuple(self.loaded.target.gradient.cuts)

    @property
    def drawing(self) -> Sequence[str]:
        return tuple(self.loaded.target.file.drawing)

    def repeat_deviation(self) -> float:
        return float(self.loaded.target.repeat_deviation)

    def keeps_state(self) -> bool | None:
        return self.loaded.target.keeps_state

    @property
    def is_random(self) -> bool:
        return self.loaded.target.is_random

    @property
    def is_random_itself(self) -> bool:
        return self.loaded.target.is_random_itself

    def batch_deviation(self) -> float | None:
        deviation = self.loaded.target.batch_deviation
        return None if deviation is None else float(deviation)

    def zero_weights(self) -> Mapping[str, tuple[int, int]]:
        return zero_weights(self.loaded.target.file)

    def parity(self, points: NDArray[Any]) -> tuple[int, float, float, float | None]:
        target = self.loaded.target
        u = torch.from_numpy(points).to(target.device, target.dtype)
        found = target.parity(u, noise=True)
        self.bill(Cost(forwards=len(points), queries=found.asked))
        return found.n, found.argmax_agreement, found.relative_difference, found.noise
