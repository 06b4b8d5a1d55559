"""Feature squeezing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import make_defense
from robaudit.detectors.base import Arrays, Detector, SlopeView, View
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureSqueezing", "gap", "through"]


@attack_parameters
class FeatureSqueezing(Detector):
    """Compares the model's answer with those to squeezed copies of the input, on which adversarial ones differ more.

    Squeezers are fewer bits, a median, and non-local means; the suspicion is the largest L1 distance between the
    probabilities of the classes, from 0 to 2. It is not fitted. The attacker goes through each squeezer's stand-in.
    Source: Xu, Evans, Qi 2018, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks".

    Args:
        bits: of each feature; 0: no such squeezer. The paper takes 1 for digits and 5 for photos.
        median: width of the window in pixels; 0: no such squeezer. Tables take 0.
        means: non-local means as well, in a window of 11, which needs scikit-image.
    """

    id = "squeezing"

    bits: Annotated[int, Field(ge=0, le=16)] = 5
    median: Annotated[int, Field(ge=0, le=15)] = 2
    means: bool = False

    @property
    def squeezers(self) -> list[Defense]:
        """In the order of the parameters."""
        found: list[Defense] = [make_defense("bits", {"depth": self.bits})] if self.bits else []
        found += [make_defense("median", {"size": self.median})] if self.median > 1 else []
        return found + ([make_defense("nl-means", {})] if self.means else [])

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Each squeezer must apply, and one must be left."""
        if not self.squeezers:
            return "no squeezer is left"
        return next((why for one in self.squeezers if (why := one.unsuited(meaning)) is not None), None)

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """The largest distance."""
        base = view.probabilities(u)
        found: NDArray[np.float64] = np.max([gap(base, view, one.shown(u)) for one in self.squeezers], axis=0)
        return found

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor:
        """The same of the twin, through the stand-ins."""
        import torch

        base = view.log_probabilities(u).exp()
        others = through(self.squeezers, u)
        return torch.stack([(base - view.log_probabilities(v).exp()).abs().sum(1) for v in others]).amax(0)


def gap(base: NDArray[np.float64], view: View, other: NDArray[Any]) -> NDArray[np.float64]:
    """[N] L1 distance between probabilities [N, K] and those of other inputs."""
    found: NDArray[np.float64] = np.abs(base - view.probabilities(other)).sum(1)
    return found


def through(defenses: Sequence[Defense], u: Tensor) -> list[Tensor]:
    """What each defense makes of a tensor, with the gradient of its stand-in."""
    found = []
    for one in defenses:
        path = one.backward_path(u)
        found.append(one.forward(u.detach()) + (path - path.detach()))
    return found
