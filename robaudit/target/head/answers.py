"""Which class an answer names: the one rule for file, twin, judge and replay, in NumPy and torch alike.

-inf is a score like any other: a class that is masked has it, and so has one whose probability rounds to 0 before a
logarithm. The class is open only where a score is NaN or the largest one is infinite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["NO_CLASS", "OPEN", "is_decided", "predictions"]

OPEN = -1
"""In place of a class that an answer leaves open."""
NO_CLASS = "the model's output is not finite on it (NaN, or an infinite largest score): it names no class"

Array = TypeVar("Array", "Tensor", NDArray[Any])


def is_decided(scores: Array) -> Array:
    """Whether scores [N, K] name a class: [N] bool."""
    highest: Any = scores.max(1) if isinstance(scores, np.ndarray) else scores.amax(1)  # NaN if any score is
    found: Array = abs(highest) < math.inf
    return found


def predictions(scores: Array) -> Array:
    """[N] int64: the class of the largest of scores [N, K], :data:`OPEN` where none is named."""
    classes: Any = scores.argmax(1)
    decided: Any = is_decided(scores)
    if isinstance(scores, np.ndarray):
        classes[~decided] = OPEN
    else:
        classes = classes.where(decided, OPEN)
    found: Array = classes
    return found
