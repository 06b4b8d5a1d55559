"""Gray box: the target's own network, its weights made anew and trained on the target's answers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.errors import AuditError
from robaudit.surrogates.base import Surrogate, weights_of
from robaudit.surrogates.networks import Fixed
from robaudit.surrogates.refined import Refined
from robaudit.threat.model import Access

if TYPE_CHECKING:  # profiles are validated without torch and onnx
    from robaudit.target.reading.pupil import Pupil

__all__ = ["Gray"]

SEEN = 64
"""Samples that the first weights of a deep network are scaled by."""
PART = 256
"""Points of one pass outside of training."""
KEPT = 0.9
"""Of the statistics of earlier batches at each step."""
PUPIL = "_pupil"


@attack_parameters
class Gray(Refined):
    """The target's own network with weights made anew, trained on what the target says of other samples.

    What an attacker knows is how the network is built, as of a published architecture, and none of its weights:
    transfer between models of one technique (Papernot, McDaniel, Goodfellow 2016, "Transferability in Machine
    Learning", arXiv:1605.07277, section 3). Trained as ``distilled`` is: on samples and what lies around them, then in
    rounds on its own adversarial points too. Batch norms that the file's exporter has multiplied into the convolutions
    of a deep network are put back.

    Args:
        queries: asked of the target at most, those of the held-out samples among them.
        samples: of the data at most, held-out ones among them.
        rounds: the first on samples and what lies around them, each other one on adversarial points too.
        epochs: of training in each round at most, of twice as many in the last.
        answers: what it learns of the target: its scores, or its labels alone.
    """

    id = "gray"
    access = Access.SCORES
    by_labels = "answers: labels"
    needs_graph = True

    queries: Annotated[int, Field(ge=20)] = 2000
    samples: Count = 500
    rounds: Count = 4
    epochs: Count = 20
    answers: Literal["scores", "labels"] = "scores"

    def __post_init__(self) -> None:
        if self.answers == "labels":
            object.__setattr__(self, "access", Access.LABELS)

    def __getstate__(self) -> dict[str, Any]:
        """Without the graph, which another process reads from the file."""
        return {name: value for name, value in self.__dict__.items() if name != PUPIL}

    def with_graph(self, pupil: Pupil) -> Gray:
        """The recipe, told how the target is built; without, nothing is made.

        Args:
            pupil: see :meth:`robaudit.target.reading.opened.OpenedTarget.pupil`.
        """
        told = copy.copy(self)
        object.__setattr__(told, PUPIL, pupil)
        return told

    @property
    def pupil(self) -> Pupil:
        """How the target is built.

        Raises:
            AuditError: it was not told.
        """
        found: Pupil | None = self.__dict__.get(PUPIL)
        if found is None:
            raise AuditError("the surrogate gray was not given the target's graph")
        return found

    def fresh(self, fit: FitSet, size: float) -> nn.Module:
        like = fit.zeros()

        def normal(name: str, shape: tuple[int, ...]) -> Tensor:
            return fit.draws.normal(f"weight {name}", 0, shape)[0].to(like.device)

        u = fit.problem(fit.order("seen", 0)[:SEEN]).x.float()
        return Trained(self.pupil, self.pupil.first(normal, u), size).to(like.device)

    def empty(self, fit: FitSet) -> nn.Module:
        return _untrained(self.pupil).to(fit.zeros().device)

    def settled(self, network: nn.Module, points: Tensor) -> None:
        """The statistics of norms become those of all points."""
        assert isinstance(network, Trained)
        network.measure(points)

    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        return Fixed(_untrained(self.pupil), weights_of(artefact))


class Trained(nn.Module):
    """A pupil with weights of its own, named by their places in the graph.

    Args:
        pupil: the form.
        state: weights and statistics of norms.
        size: unit of its logits.
    """

    size: Tensor

    def __init__(self, pupil: Pupil, state: dict[str, Tensor], size: float = 1.0) -> None:
        super().__init__()
        self._pupil = pupil
        self._weights = {weight.name: f"w{place}" for place, weight in enumerate(pupil.weights)}
        self._statistics = {name: f"s{place}" for place, name in enumerate(pupil.statistics)}
        for name, mine in self._weights.items():
            self.register_parameter(mine, nn.Parameter(state[name].detach().clone()))
        for name, mine in self._statistics.items():
            self.register_buffer(mine, state[name].detach().clone())
        self.register_buffer("size", torch.tensor(size))

    def forward(self, u: Tensor) -> Tensor:
        """[N, *shape] to [N, K]; in training norms look at the batch, else each input is by itself."""
        if not self.training:
            return self._pupil.logits(self._state(), u) * self.size
        logits, seen = self._pupil.lesson(self._state(), u)
        for name, value in seen.items():
            mine = self._statistics[name]
            setattr(self, mine, getattr(self, mine).lerp(value, 1 - KEPT))
        return logits * self.size

    @torch.no_grad()
    def measure(self, points: Tensor) -> None:
        """Take the mean of each statistic over parts of the points [N, *shape], under the weights of now.

        Source: Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3.1.
        """
        total: dict[str, Tensor] = {}
        for part in torch.split(points, PART):
            for name, value in self._pupil.lesson(self._state(), part)[1].items():
                total[name] = total.get(name, torch.zeros_like(value)) + value * (len(part) / len(points))
        for name, value in total.items():
            setattr(self, self._statistics[name], value)

    def _state(self) -> dict[str, Tensor]:
        return {name: getattr(self, mine) for name, mine in {**self._weights, **self._statistics}.items()}


def _untrained(pupil: Pupil) -> Trained:
    """A network that takes weights."""
    zeros = {weight.name: torch.zeros(weight.shape) for weight in pupil.weights}
    return Trained(pupil, {**zeros, **pupil.statistics})
