"""Additive noise, drawn anew for each answer, or by many answers that vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import special

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.defenses.base import RandomDefense, VotingDefense
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Noise", "RegionVote", "Smoothing"]


@attack_parameters
class Noise(RandomDefense):
    """Adds Gaussian noise, drawn anew for each answer, and clips to the domain.

    The gradient is exact at each draw, and attacks take means over draws (expectation over transformation: Athalye,
    Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security"). Source: Cohen, Rosenfeld, Kolter 2019,
    "Certified Adversarial Robustness via Randomized Smoothing", of whose noise this is one draw; as a layer: Liu,
    Cheng, Zhang, Hsieh 2018, "Towards Robust Neural Networks via Random Self-ensemble".

    Args:
        sigma: standard deviation, as a fraction of the domain's width.
    """

    id = "noise"

    sigma: Positive = 0.05

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Tables have features that noise makes nonsense of."""
        return _a_table(meaning)

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """With the noise of each key."""
        return _with(u, _normal(u, keys, self.sigma))

    def drawn_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same."""
        return _path_with(u, _normal(u, keys, self.sigma))


@attack_parameters
class Smoothing(VotingDefense):
    """Answers the class that most of many answers under Gaussian noise name: the prediction of randomized smoothing.

    With `alpha` below 1 it names none where a binomial test does not tell the two classes apart that are named most
    often: such an answer is not right, and fools nobody, so that what abstains seems harder to fool. The noise follows
    from the input's content, so that the same input has the same answer; it is clipped to the domain. Gradients are
    those of the mean softmax. It certifies nothing here. Source: Cohen, Rosenfeld, Kolter 2019,
    "Certified Adversarial Robustness via Randomized Smoothing" (the procedure PREDICT); the attack on the mean softmax:
    Salman, Yang, Li, Zhang, Zhang, Razenshteyn, Bubeck 2019, "Provably Robust Deep Learning via Adversarially Trained
    Smoothed Classifiers".

    Args:
        sigma: standard deviation, as a fraction of the domain's width.
        votes: answers for one.
        alpha: chance of the test to name a class that is not the most common one; 1: there is no test.
    """

    id = "smoothing"

    sigma: Positive = 0.1
    votes: Annotated[int, Field(ge=2, le=10_000)] = 50
    alpha: Annotated[float, Field(gt=0, le=1)] = 1.0

    @property
    def copies(self) -> int:
        """All that vote."""
        return self.votes

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Tables have features that noise makes nonsense of."""
        return _a_table(meaning)

    def cast(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """With the noise of each key."""
        return _with(u, _normal(u, keys, self.sigma))

    def cast_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same."""
        return _path_with(u, _normal(u, keys, self.sigma))

    def names(self, votes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where a two-sided test says that the first class is more common than the second."""
        if votes.shape[1] < 2:
            return super().names(votes)
        second, first = np.sort(votes, 1)[:, -2:].T
        chance = np.minimum(1.0, 2 * special.bdtrc(first - 1.0, first + second, 0.5))  # at 1/2 both tails are alike
        found: NDArray[np.bool_] = (first > 0) & (chance <= self.alpha)
        return found


@attack_parameters
class RegionVote(VotingDefense):
    """Answers the class that most points of a box around the input have: region-based classification.

    The points are uniform in the box, and clipped to the domain; they follow from the input's content, so that the same
    input has the same answer. Gradients are those of the mean softmax. Source: Cao, Gong 2017, "Mitigating Evasion
    Attacks to Deep Neural Networks via Region-based Classification", with 10,000 points on MNIST and 1,000 on CIFAR-10.

    Args:
        radius: of the box: half its width, as a fraction of the domain's width.
        votes: points for one answer.
    """

    id = "region-vote"

    radius: Positive = 0.1
    votes: Annotated[Count, Field(ge=2, le=10_000)] = 50

    @property
    def copies(self) -> int:
        """All that vote."""
        return self.votes

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Tables have features that noise makes nonsense of."""
        return _a_table(meaning)

    def cast(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """The point of each key."""
        return _with(u, _uniform(u, keys, self.radius))

    def cast_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same."""
        return _path_with(u, _uniform(u, keys, self.radius))


def _a_table(meaning: InputMeaning) -> str | None:
    if meaning.ranges is None and meaning.kind == "image":
        return None
    return f"it needs images, and the model takes {'x'.join(map(str, meaning.shape))} features"


def _normal(u: Any, keys: NDArray[np.uint64], sigma: float) -> NDArray[np.float64]:
    shape = tuple(u.shape[1:])
    return sigma * np.stack([np.random.Generator(np.random.Philox(key)).standard_normal(shape) for key in keys])


def _uniform(u: Any, keys: NDArray[np.uint64], radius: float) -> NDArray[np.float64]:
    shape = tuple(u.shape[1:])
    return radius * np.stack([2 * np.random.Generator(np.random.Philox(key)).random(shape) - 1 for key in keys])


def _with(u: NDArray[Any], noise: NDArray[np.float64]) -> NDArray[Any]:
    """In double precision, then in that of the points."""
    return np.clip(u.astype(np.float64) + noise, 0, 1).astype(u.dtype)


def _path_with(u: Tensor, noise: NDArray[np.float64]) -> Tensor:
    import torch

    return (u + torch.from_numpy(noise).to(u)).clamp(0, 1)
