"""The contract of a detector: it stands beside a model, and inputs that it finds suspicious have no answer.

The threshold is not the detector's: it is set on clean samples apart from the audited ones, so that so many of them are
rejected as the user allows. What is random is none here: equal inputs are equally suspicious.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Arrays", "Detector", "Samples", "SlopeView", "View"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""What a detector was fitted to, by name: plain arrays, which the evidence keeps."""


class View(Protocol):
    """What a detector sees of the model: the answers of the shipped file, in NumPy."""

    @property
    def meaning(self) -> InputMeaning:
        """Of the model's input."""
        ...

    def probabilities(self, u: NDArray[Any]) -> NDArray[np.float64]:
        """[N, *shape] in u-space to [N, K] probabilities of the classes; NaN where an answer names none."""
        ...

    def features(self, u: NDArray[Any], nodes: Sequence[str]) -> list[NDArray[np.float64]]:
        """[N, *shape] to [N, D] of each node of the file's graph, flattened; no node: the last linear layer's input.

        Raises:
            UsageError: the file has no such node, or is of a format whose nodes have no names.
        """
        ...


class SlopeView(Protocol):
    """The same with a gradient, from the twin."""

    def log_probabilities(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        ...

    def features(self, u: Tensor, nodes: Sequence[str]) -> list[Tensor]:
        """As :meth:`View.features`."""
        ...


@dataclass(frozen=True)
class Samples:
    """Clean samples to fit on, apart from those that are audited.

    Args:
        points: [M, *shape] in u-space.
        labels: [M] int64 their classes: labels where there are any, else the model's own answers.
    """

    points: NDArray[Any]
    labels: NDArray[np.int64]


class Detector(ABC):
    """A detector. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    Class attributes:
        id: name in settings and reports.
        files: parameters that name files, whose content counts and not their place.
        least: samples that a fit needs, where there is one.
    """

    id: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[int] = 0

    @property
    def fit_samples(self) -> int:
        """Most clean samples that it is fitted on; 0: it is not fitted."""
        return 0

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """Why it does not apply to inputs of this meaning, as a clause, or None."""
        return None

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Detector:
        """It, with all loaded that it needs for inputs of this meaning; itself unless told.

        Args:
            meaning: of the model's input, which it suits.
            trust: TorchScript code that is not known to be harmless may be loaded.

        Raises:
            UsageError: a file cannot be used.
        """
        return self

    def fit(self, samples: Samples, view: View, slope: SlopeView | None) -> Arrays:
        """What it needs to know of clean samples; nothing unless told.

        Args:
            samples: clean ones.
            view: of the model.
            slope: the same with a gradient; None where the model has none.

        Raises:
            UsageError: the model lacks what the fit needs.
        """
        return {}

    @abstractmethod
    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """[N, *shape] in u-space to [N] suspicion, each row by itself; larger is more suspicious.

        It is the one definition: inputs are rejected, and evidence is replayed, with it.
        """

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor | None:
        """[N] a differentiable stand-in for :meth:`scores`, on the same scale; None where there is none.

        An attacker who knows the detector lowers it.
        """
        return None
