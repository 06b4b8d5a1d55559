"""A detector beside the file as the engine asks it: what it rejects, and the gradient of its suspicion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.detectors.base import SlopeView
from robaudit.detectors.guard import Guard

__all__ = ["Guarding"]


@dataclass(frozen=True)
class Guarding:
    """A detector at work.

    Args:
        guard: the detector, fitted, with its threshold.
        slope: the model with a gradient; None: it has none.
        differentiable: whether the suspicion has a gradient.
    """

    guard: Guard
    slope: SlopeView | None = None
    differentiable: bool = False

    def rejects(self, u: Tensor, *, alone: bool) -> Tensor:
        """[N] bool of inputs [N, *shape]; ``alone``: each is asked about by itself."""
        found = self.guard.rejects(u.detach().cpu().numpy(), alone=alone)
        return torch.from_numpy(found).to(u.device)

    def excess(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """([N] suspicion of the stand-in less the threshold, [N, *shape] its gradient, 0 where it is not finite)."""
        assert self.slope is not None
        points = u.detach().requires_grad_()
        with torch.enable_grad():
            found = self.guard.detector.slope(points, self.slope, self.guard.fitted)
            assert found is not None
            (gradient,) = torch.autograd.grad(found.sum(), points)
        value = found.detach().to(u.device) - self.guard.threshold
        return value.to(u.dtype), gradient.nan_to_num(0.0, 0.0, 0.0).contiguous()

    @classmethod
    def tried(cls, guard: Guard, slope: SlopeView | None, u: Tensor) -> Guarding:
        """With the gradient tried at points [N, *shape]: a detector whose suspicion has none is got past without."""
        if slope is None:
            return cls(guard)
        both = cls(guard, slope, differentiable=True)
        try:
            value, gradient = both.excess(u)
        except Exception:  # odd graphs break importers in their own ways
            return cls(guard)
        good = bool(value.isfinite().all()) and bool((gradient != 0).any())
        return both if good else cls(guard)
