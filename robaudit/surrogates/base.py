"""The contract of a recipe: a model in place of the target, made round by round from what the target answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.threat.model import Access

if TYPE_CHECKING:  # profiles are validated without torch and onnx
    from robaudit.target.reading.pupil import Pupil

__all__ = ["WEIGHTS", "Surrogate", "SurrogateRecipe", "digest_of", "weights_of"]

WEIGHTS = "weights/"
"""Begins the names of an artefact's weights."""


class Surrogate(Protocol):
    """A model with an input gradient."""

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable, each row by itself, in the type of ``u``."""
        ...


class SurrogateRecipe(ABC):
    """How a surrogate is made. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    It is fitted as a :class:`robaudit.attacks.fitted.FittedSearch` is, round by round, on samples apart from the
    audited ones; each query is billed to it, and a killed fit goes on after its last round. The last artefact holds the
    weights, under names that begin with ``WEIGHTS``, and three counts: ``trained_on`` samples, and of ``held_out``
    samples, which it was not trained on, the ``agreed`` ones that it gives the target's class.

    Class attributes:
        id: name in profiles and reports.
        access: what it asks of the target: scores, or labels.
        by_labels: parameter with which labels are enough for it, as ``answers: labels``; empty: there is none.
        needs_graph: it is made of the target's own graph, which :meth:`with_graph` gives it.
    """

    id: ClassVar[str]
    access: ClassVar[Access]
    by_labels: ClassVar[str] = ""
    needs_graph: ClassVar[bool] = False

    @property
    @abstractmethod
    def fit_samples(self) -> int:
        """Most samples that it is made from, held-out ones among them."""

    @property
    @abstractmethod
    def fit_needs(self) -> int:
        """Fewest samples without which it is not made."""

    @property
    @abstractmethod
    def fit_rounds(self) -> int:
        """Rounds, after each of which a killed audit can resume."""

    @abstractmethod
    def fit_start(self, fit: FitSet) -> Artefact:
        """The artefact before the first round."""

    @abstractmethod
    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """The artefact after a further round, from 0; a pure function of what it is given."""

    def fit_end(self, artefact: Artefact) -> Artefact:
        """What is kept of the artefact after the last round."""
        return artefact

    @abstractmethod
    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        """The surrogate of the last artefact, on the device of its weights.

        Args:
            artefact: of the last round.
            classes: of the target.
            shape: of a sample.
        """

    @abstractmethod
    def most(self, samples: int) -> Cost:
        """Most evaluations that making it from so many samples takes."""

    def digest(self, artefact: Artefact) -> str:
        """Names the surrogate of the last artefact: SHA-256, of its weights if nothing else is said."""
        return digest_of(artefact)

    def with_graph(self, pupil: Pupil) -> SurrogateRecipe:
        """The recipe, told how the target is built; of use where ``needs_graph``."""
        return self

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """Why it cannot stand for a model of so many classes and this sample shape, or None."""
        return None


def weights_of(artefact: Artefact) -> dict[str, Tensor]:
    """The weights by their own names."""
    return {name.removeprefix(WEIGHTS): value for name, value in artefact.items() if name.startswith(WEIGHTS)}


def digest_of(artefact: Artefact) -> str:
    """SHA-256 over the names, shapes and bytes of the weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(weights_of(artefact).items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
