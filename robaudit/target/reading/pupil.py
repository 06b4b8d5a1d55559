"""The file's own network with weights that training sets. Every method takes u-space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from robaudit.target.head.scores import Head
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.running.trainable import Learner, Normal, State, Weight

__all__ = ["Pupil"]


@dataclass(frozen=True)
class Pupil:
    """A network of the file's own form, as a function of its weights.

    Args:
        learner: the form.
        spec: what its input means.
        head: what its output means.
    """

    learner: Learner
    spec: InputSpec
    head: Head

    @property
    def weights(self) -> Sequence[Weight]:
        """What training sets."""
        return self.learner.weights

    @property
    def statistics(self) -> State:
        """What it only measures."""
        return self.learner.statistics

    def first(self, normal: Normal, u: Tensor) -> dict[str, Tensor]:
        """The state before training.

        Args:
            normal: draws standard normal numbers for the weight of a name.
            u: [N, *shape] inputs that are like those of the training.
        """
        state = {weight.name: weight.first(normal).to(u.device) for weight in self.weights}
        return self.learner.scaled({**state, **self.statistics}, self.spec.to_file(u))

    def logits(self, state: State, u: Tensor) -> Tensor:
        """[N, *shape] to [N, K], each input's independent of the others; differentiable in both."""
        return self.head.logits(self.learner.answer(state, self.spec.to_file(u)))

    def lesson(self, state: State, u: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """[N, K] logits in training, and the means and variances of these inputs that norms have taken off."""
        answer, seen = self.learner.lesson(state, self.spec.to_file(u))
        return self.head.logits(answer), seen
