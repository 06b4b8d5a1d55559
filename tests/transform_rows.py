"""Rows as a transform is handed them, without an engine around."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.transforms.base import Copies
from robaudit.threat.random import Draws

KEYS = torch.tensor([3, 1 << 40, -7, 12, 5])


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """[5, *shape], a row for each key."""
    return torch.rand(5, *shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


def copies(
    step: Tensor | int = 0,
    keys: Tensor = KEYS,
    number: Tensor | int = 0,
    label: Tensor | None = None,
    points: Tensor | None = None,
    labels: Tensor | None = None,
) -> Copies:
    """Of rows with these keys; numbers for all or one for each, labels 0 and no other samples unless told."""
    nothing = torch.zeros_like(keys)
    return Copies(
        draws=Draws(keys),
        step=torch.as_tensor(step) + nothing,
        number=torch.as_tensor(number) + nothing,
        label=nothing if label is None else label,
        points=torch.zeros(0, 1) if points is None else points,
        labels=nothing[:0] if labels is None else labels,
    )
