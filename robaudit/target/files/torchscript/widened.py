"""A copy of a module in half precision with weights in float32, in which gradients do not vanish."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.target.files.torchscript.state import ModuleState

__all__ = ["agree", "widened"]

TWIN = 0.05
"""Largest difference between a file in half precision and its copy in float32, over the largest output."""


def widened(module: torch.jit.ScriptModule, state: ModuleState | None) -> torch.jit.ScriptModule | None:
    """The copy; None where there can be none. ``state``: restored first, if it is kept."""
    try:
        if state is not None:
            state.restore()
        wide: torch.jit.ScriptModule = copy.deepcopy(module).float()
    except Exception:  # a module may hold what cannot be copied
        return None
    return wide


def agree(copied: Callable[[], Tensor], own: Callable[[], Tensor]) -> bool:
    """Whether a copy answers as the file does; it does not where it refuses."""
    try:
        with torch.no_grad():
            expected, found = own(), copied()
        return bool((found - expected).abs().amax() <= TWIN * expected.abs().amax())
    except Exception:  # code that names its types refuses others
        return False
