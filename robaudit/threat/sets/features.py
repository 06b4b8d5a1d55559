"""Features of the input that nobody can change, such as immutable columns of a table."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from robaudit.threat.sets.base import PerturbationSet

__all__ = ["FixedFeatures"]


@dataclass(frozen=True)
class FixedFeatures(PerturbationSet):
    """Some features stay as they are: the immutable and constant ones of a table.

    Args:
        places: of the features, in the flattened sample.
    """

    id = "features"
    inherent = True

    places: tuple[int, ...]

    def fixed(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """[*shape], set at the places."""
        if not self.places:
            return None
        flat = np.zeros(math.prod(shape), dtype=np.bool_)
        flat[list(self.places)] = True
        return flat.reshape(shape)
