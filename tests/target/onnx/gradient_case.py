"""What test_gradients.py needs to check an operator's gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx


@dataclass(frozen=True)
class GradientCase:
    """A model around one operator; ``x`` lies away from kinks."""

    op: str
    model: onnx.ModelProto
    x: np.ndarray
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.domain or 'onnx'}:{self.op}"
