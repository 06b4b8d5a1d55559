"""A detector that is given as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import attack_parameters
from robaudit.detectors.base import Arrays, Detector, SlopeView, View
from robaudit.errors import UsageError
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

    from robaudit.detectors.scorers import Scorer

__all__ = ["GivenDetector"]


@attack_parameters
class GivenDetector(Detector):
    """Takes the suspicion from a file: any ONNX or TorchScript network with one float number of each input.

    Larger is more suspicious. The file takes what the model takes, prepared in the same way (layout, mean, std), or
    with `takes=unit` the input in [0, 1], [N, C, H, W] of images; it must give the same each time, and is asked one
    input at a time. A number of each input is [N] or [N, 1]. It is not fitted. The attacker goes through the file where
    it has a gradient.

    Args:
        file: the detector, with all its weights in it.
        takes: model or unit.
    """

    id = "file"
    files = ("file",)

    file: str
    takes: Literal["model", "unit"] = "model"

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Detector:
        """The same with its file loaded and tried."""
        path = Path(self.file)
        kind = model_format(path)
        if kind == "onnx":
            from robaudit.detectors.scorers import OnnxScorer

            return Loaded(OnnxScorer(path, meaning, unit=self.takes == "unit"))
        if kind == "torchscript":
            from robaudit.detectors._scripts import ScriptScorer  # torch is what runs such a file

            return Loaded(ScriptScorer(path, meaning, unit=self.takes == "unit", trust=trust))
        raise UsageError(f"the detector {path} is neither an ONNX nor a TorchScript file")

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """Nothing before :meth:`ready`."""
        raise UsageError(f"the detector {self.file} was not loaded")


@dataclass(frozen=True)
class Loaded(Detector):
    """The same with its file."""

    scorer: Scorer

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """What the file says."""
        return self.scorer.scores(u)

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor | None:
        """The file's own function, where it has a gradient."""
        return self.scorer.slope(u)
