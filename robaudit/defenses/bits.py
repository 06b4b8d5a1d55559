"""Bit depth reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["BitDepth"]


@attack_parameters
class BitDepth(Defense):
    """Rounds every feature to few equal levels, so that small perturbations vanish, or are magnified to a level.

    It has no gradient, and hides that of the model from an attacker who takes it as it is; with the identity in its
    place on the way back, robustness by it alone is mostly gone. Source: Xu, Evans, Qi 2018, "Feature Squeezing:
    Detecting Adversarial Examples in Deep Neural Networks" (colour depth); Guo, Rana, Cisse,
    van der Maaten 2018, "Countering Adversarial Images using Input Transformations".

    Args:
        depth: bits of each feature: 2 ** depth levels of its domain.
    """

    id = "bits"

    depth: Annotated[int, Field(ge=1, le=16)] = 3

    @property
    def _steps(self) -> int:
        return (1 << self.depth) - 1

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """The nearest level of each feature, half up."""
        steps = self._steps
        found: NDArray[Any] = (np.floor(u.astype(np.float64) * steps + 0.5) / steps).astype(u.dtype)
        return found

    def forward(self, u: Tensor) -> Tensor:
        """The same arithmetic."""
        return ((u.double() * self._steps + 0.5).floor() / self._steps).to(u.dtype)
