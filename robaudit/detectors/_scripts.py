"""Detectors as TorchScript files, which torch alone can run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.detectors.scorers import Scorer
from robaudit.errors import RobauditError, on_one_line
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.inputs.meaning import InputMeaning

__all__ = ["ScriptScorer"]


class ScriptScorer(Scorer):
    """A detector that is its own twin; ``trust``: see ``open_torchscript``."""

    def __init__(self, path: Path, meaning: InputMeaning, *, unit: bool, trust: bool) -> None:
        self._trust = trust
        super().__init__(path, meaning, unit=unit)

    def _open(self) -> None:
        self._script = open_torchscript(self.path, torch.device("cpu"), trust=self._trust).module

    def _asked(self, x: NDArray[Any]) -> NDArray[Any]:
        try:
            with torch.no_grad():
                found = self._script(torch.from_numpy(x).float())
        except Exception as error:  # whatever the module raises
            raise RobauditError(on_one_line(error)) from error
        if not isinstance(found, torch.Tensor):
            raise RobauditError(f"it returns {type(found).__name__}, not a tensor")
        answer: NDArray[Any] = found.numpy()
        return answer

    def _function(self) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            found: Tensor = self._script(x.cpu())
            return found.to(x.device)

        return run
