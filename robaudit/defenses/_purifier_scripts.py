"""Purifiers as TorchScript files, which torch alone can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robaudit.defenses.purifier_files import PurifierFile
from robaudit.errors import RobauditError, on_one_line
from robaudit.target.files.torchscript.file import open_torchscript

__all__ = ["ScriptPurifier"]


class ScriptPurifier(PurifierFile):
    """A purifier that is its own twin; ``trust``: see ``open_torchscript``."""

    def __init__(self, path: Path, shape: tuple[int, ...], *, trust: bool) -> None:
        self._trust = trust
        super().__init__(path, shape)

    def _open(self) -> None:
        self._script = open_torchscript(self.path, torch.device("cpu"), trust=self._trust).module

    def _asked(self, x: NDArray[np.float32]) -> NDArray[Any]:
        try:
            with torch.no_grad():
                found = self._script(torch.from_numpy(x))
        except Exception as error:  # whatever the module raises
            raise RobauditError(on_one_line(error)) from error
        if not isinstance(found, torch.Tensor):
            raise RobauditError(f"it returns {type(found).__name__}, not a tensor")
        answer: NDArray[Any] = found.numpy()
        return answer

    def _module(self) -> nn.Module:
        found: nn.Module = self._script
        return found
