"""MagNet's detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import make_defense
from robaudit.defenses.suited import no_images
from robaudit.detectors.base import Arrays, Detector, Samples, SlopeView, View
from robaudit.errors import UsageError
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MagNet"]

TINY = 1e-12


@attack_parameters
class MagNet(Detector):
    """Measures how far an autoencoder of clean images moves an input, and how much the model's answer changes with it.

    Two measures: the mean reconstruction error, and the Jensen-Shannon divergence between the answers to the image and
    to what the autoencoder makes of it, softened by a temperature. Each is put on the scale of clean samples (0 the
    median, 1 the 95th percentile); the suspicion is the larger one, as MagNet rejects what any detector rejects. The
    autoencoder is a file, ONNX or TorchScript, from images to images of the same size in [0, 1], such as
    `robaudit train-purifier` writes. Source: Meng, Chen 2017, "MagNet: a Two-Pronged Defense against Adversarial
    Examples".

    Args:
        file: the autoencoder.
        power: of the reconstruction error of each pixel: 1 or 2.
        temperature: that logits are divided by before the divergence.
        samples: most clean ones that the scales are read off.
    """

    id = "magnet"
    files = ("file",)
    least = 20

    file: str
    power: Annotated[int, Field(ge=1, le=2)] = 1
    temperature: Positive = 10.0
    samples: Count = 200

    @property
    def fit_samples(self) -> int:
        """For the scales."""
        return self.samples

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images."""
        return no_images(meaning)

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Detector:
        """The same with the autoencoder loaded."""
        return Loaded(self, make_defense("purifier", {"file": self.file}).ready(meaning, trust=trust))

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """Nothing before :meth:`ready`."""
        raise UsageError(f"the autoencoder {self.file} was not loaded")


@dataclass(frozen=True)
class Loaded(Detector):
    """The same with its autoencoder."""

    own: MagNet
    autoencoder: Defense
    least = MagNet.least

    @property
    def fit_samples(self) -> int:
        """As the detector has it."""
        return self.own.samples

    def _measures(self, u: NDArray[Any], view: View) -> NDArray[np.float64]:
        """[N, 2] error and divergence."""
        made = self.autoencoder.shown(u)
        error = (np.abs(u.astype(np.float64) - made) ** self.own.power).reshape(len(u), -1).mean(1)
        before, after = (_softened(view.probabilities(v), self.own.temperature) for v in (u, made))
        return np.stack([error, _divergence(before, after)], axis=1)

    def fit(self, samples: Samples, view: View, slope: SlopeView | None) -> Arrays:
        """The median of each measure, and how far above it the 95th percentile is."""
        middle, high = np.quantile(self._measures(samples.points, view), (0.5, 0.95), axis=0)
        return {"middle": middle, "width": np.maximum(high - middle, TINY)}

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """The larger measure."""
        found: NDArray[np.float64] = ((self._measures(u, view) - fitted["middle"]) / fitted["width"]).max(1)
        return found

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor:
        """The same of the twin, through the autoencoder where it has a gradient."""
        import torch

        made = self.autoencoder.backward_path(u).clamp(0, 1)
        error = ((u - made).abs() ** self.own.power).flatten(1).mean(1)
        logs = [(view.log_probabilities(v) / self.own.temperature).log_softmax(1) for v in (u, made)]
        middle = torch.logaddexp(logs[0], logs[1]) - float(np.log(2))
        divergence = sum((one.exp() * (one - middle)).sum(1) for one in logs) / 2
        both = torch.stack([error, torch.as_tensor(divergence)], 1)
        scaled = (both - torch.from_numpy(fitted["middle"]).to(both)) / torch.from_numpy(fitted["width"]).to(both)
        return scaled.amax(1)


def _softened(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Those of the logits divided by a temperature."""
    logs = np.log(np.maximum(probabilities, TINY)) / temperature
    found = np.exp(logs - logs.max(1, keepdims=True))
    shares: NDArray[np.float64] = found / found.sum(1, keepdims=True)
    return shares


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] Jensen-Shannon, in nats."""
    middle = (p + q) / 2
    found: NDArray[np.float64] = sum((one * np.log(np.maximum(one, TINY) / middle)).sum(1) for one in (p, q)) / 2
    return found
