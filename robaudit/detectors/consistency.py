"""Consistency of the answer under small transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.suited import no_images
from robaudit.detectors.base import Arrays, Detector, SlopeView, View
from robaudit.detectors.squeezing import gap
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Consistency"]


@attack_parameters
class Consistency(Detector):
    """Compares the model's answer with those to the image shifted a little, which clean images survive more often.

    The image is shifted up, down, left and right, with its border repeated, and mirrored if told. The suspicion is the
    mean L1 distance between the probabilities of the classes, from 0 to 2. It is not fitted, and its gradient is exact.
    Source: Tian, Yang, Cai 2018, "Detecting Adversarial Examples through Image Transformation", with rotations beside
    shifts, which are left out here.

    Args:
        shift: in pixels.
        mirror: left and right too, for classes that do not depend on it.
    """

    id = "consistency"

    shift: Annotated[int, Field(ge=1, le=32)] = 1
    mirror: bool = False

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images larger than the shift."""
        if (why := no_images(meaning)) is not None:
            return why
        smallest = min(meaning.shape[1:])
        return f"a shift of {self.shift} leaves nothing of {smallest} pixels" if self.shift >= smallest else None

    def _places(self, shape: tuple[int, ...]) -> list[tuple[int, NDArray[np.int64]]]:
        """(axis, where each row or column is taken from) of each transform."""
        found = [
            (axis, np.clip(np.arange(shape[axis]) + by, 0, shape[axis] - 1))
            for axis in (2, 3)
            for by in (-self.shift, self.shift)
        ]
        return found + ([(3, np.arange(shape[3])[::-1].copy())] if self.mirror else [])

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """The mean distance."""
        base = view.probabilities(u)
        gaps = [gap(base, view, np.take(u, places, axis)) for axis, places in self._places(u.shape)]
        found: NDArray[np.float64] = np.mean(gaps, axis=0)
        return found

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor:
        """The same of the twin."""
        import torch

        base = view.log_probabilities(u).exp()
        total = torch.zeros_like(base[:, 0])
        transforms = self._places(tuple(u.shape))
        for axis, places in transforms:
            moved = u.index_select(axis, torch.from_numpy(places).to(u.device))
            total = total + (base - view.log_probabilities(moved).exp()).abs().sum(1)
        return total / len(transforms)
