"""What a module keeps between its calls, put back to what it was when the file was loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robaudit.target.files.torchscript.graph import attribute_names

__all__ = ["ModuleState"]

SMALL = 2**16
"""Numbers of a tensor up to which it is always put back, as a write through ``.data`` is not seen."""


@dataclass
class _Slot:
    """An attribute: of which part, its value at the start, and the version of the tensor that holds it now."""

    part: Any
    name: str
    value: Any
    watched: bool = False
    version: tuple[int, int] = (0, 0)

    def restore(self) -> None:
        now = getattr(self.part, self.name)
        if not self.watched or not isinstance(now, Tensor) or self.version != _version(now):
            fresh = copy.deepcopy(self.value)
            setattr(self.part, self.name, fresh)
            self.version = _version(fresh)


def _version(value: Any) -> tuple[int, int]:
    return (value.data_ptr(), value._version) if isinstance(value, Tensor) else (0, 0)


class ModuleState:
    """Parameters, buffers and attributes of a module and all its parts, copied before its first call.

    Weights and large buffers are put back only where they were written to, so that a call costs little more.

    Args:
        module: TorchScript, or the module of an exported program.
    """

    def __init__(self, module: Any) -> None:
        self._slots = list(_slots(module))

    def restore(self) -> None:
        """Undo what calls have left behind."""
        with torch.no_grad():
            for slot in self._slots:
                slot.restore()


def _slots(module: Any) -> Iterator[_Slot]:
    names = attribute_names(module)
    for part in module.modules():
        weights = {name for name, _ in part.named_parameters(recurse=False)}
        held = weights | {name for name, _ in part.named_buffers(recurse=False)}
        script = getattr(part, "_c", None)
        if script is not None:
            held |= {name for name in names if name != "training" and script.hasattr(name)}
        for name in sorted(held):
            value = getattr(part, name)
            if isinstance(value, torch.nn.Module):
                continue
            try:
                kept = copy.deepcopy(value)
            except Exception:  # an object of compiled code, which cannot be copied; repeated answers show what it does
                continue
            watched = name in weights or (isinstance(value, Tensor) and value.numel() > SMALL)
            yield _Slot(part, name, kept, watched, _version(value))
