"""Whether a file's twin has a useful gradient: it is tried before any attack relies on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from robaudit.errors import on_one_line
from robaudit.target.files.model_file import ModelFile

__all__ = ["GradientStatus", "Method", "mixed_gradient", "tried_gradient"]

Method = Literal["exact", "straight-through", "smoothed", "stand-in", "none"]


@dataclass(frozen=True)
class GradientStatus:
    """Whether white-box attacks can run, and how good their gradient is.

    Args:
        available: whether there is one.
        reason: why not, or what limits it.
        method: exact; straight-through, where operators without a derivative are passed as if they were not there;
            smoothed, where the true gradient ends and that of the twin with a smooth backward is taken;
            stand-in, where another model's gradient is taken.
        cuts: operators between input and scores without a useful derivative, as ``Op (node)``.
        batching: how the twin runs a batch: direct, vmap or loop.
    """

    available: bool
    reason: str | None = None
    method: Method = "exact"
    cuts: tuple[str, ...] = ()
    batching: str | None = None


def tried_gradient(
    status: GradientStatus,
    file: ModelFile,
    points: Tensor,
    logits: Callable[[Tensor], Tensor],
    changes: Callable[[Tensor], bool],
) -> GradientStatus:
    """What is known of a gradient after it was taken.

    Args:
        status: as the file declares it.
        file: whose twin is differentiated.
        points: [N, *shape] in u-space, leaves that require a gradient.
        logits: [N, *shape] to the twin's [N, K].
        changes: whether the file's scores differ between points.
    """
    try:
        gradient = mixed_gradient(points, logits)
    except Exception as error:  # torch raises many types for a graph that does not run
        reason = on_one_line(error, 200)
        return GradientStatus(False, f"the torch twin does not run ({reason})", "none")
    twin, cutting = file.twin, file.cutting
    cuts = [] if twin is None else twin.cuts
    status = replace(
        status,
        method="straight-through" if any(not cut.ends for cut in cuts) else "exact",
        cuts=tuple(map(str, cuts)) or cutting,
        batching=None if twin is None else twin.batching,
    )
    if gradient is None:
        lack = "no gradient path leads from the input to the output"
    elif (cuts or cutting) and not bool(gradient.any()) and changes(points.detach()):
        lack = "the gradient is zero everywhere"
    else:
        return status
    ends = [f"{cut.op} ({cut.node})" for cut in cuts if cut.ends] or list(cutting)
    where = f" ({', '.join(ends[:3])})" if ends else ""
    return replace(status, available=False, reason=f"{lack}{where}", method="none")


def mixed_gradient(points: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The gradient of a mixture of all logits at [N, *shape]; None where none of them depends on the input."""
    with torch.enable_grad():
        found = logits(points)
        weights = torch.linspace(-1, 1, found.shape[1], dtype=found.dtype, device=found.device)
        mixed = (found * weights).sum()
        return torch.autograd.grad(mixed, points, allow_unused=True)[0] if mixed.grad_fn else None
