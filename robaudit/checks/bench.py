"""What a check may use: the file as measured, the samples, what fell, and attacks of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robaudit.checks.handed import Breach, Planted, Ran

if TYPE_CHECKING:  # profiles and reports read what checks declare, without torch
    from robaudit.attacks.base import SlotAttack
    from robaudit.attacks.requests import How
    from robaudit.engine.units import Sample, UnitResult
    from robaudit.target.inputs.meaning import InputMeaning
    from robaudit.threat.losses import Loss
    from robaudit.threat.model import Access, ThreatModel

__all__ = ["Bench", "MeasuredTarget"]


class MeasuredTarget(Protocol):
    """What checks ask of the target beside running it."""

    @property
    def head_kind(self) -> str:
        """Logits, probabilities, log-probabilities, sigmoids or labels."""
        ...

    @property
    def opposite(self) -> str:
        """The decision that is the other way round, as --decision takes it: smallest, or below:0.5, say."""
        ...

    @property
    def head_peeled(self) -> bool:
        """Whether gradients are taken before the file's softmax or sigmoid."""
        ...

    @property
    def has_gradient(self) -> bool:
        """Whether a differentiable twin exists."""
        ...

    @property
    def is_its_own_twin(self) -> bool:
        """Whether the file itself is differentiated (TorchScript)."""
        ...

    @property
    def eight_bit(self) -> bool:
        """Whether inputs are images, for which 8-bit figures mean something."""
        ...

    @property
    def unsmooth(self) -> str | None:
        """Why its gradient cannot be taken by a smooth backward, as a clause; None: it can."""
        ...

    @property
    def smoothable(self) -> Mapping[str, Sequence[str]]:
        """Names of the nodes that can have a smooth backward, by operator; none where no graph is looked into."""
        ...

    @property
    def meaning(self) -> InputMeaning:
        """What its input means."""
        ...

    @property
    def cuts(self) -> Sequence[str]:
        """Operators between input and scores without a useful derivative, as ``Op (node)``."""
        ...

    @property
    def drawing(self) -> Sequence[str]:
        """Operators of the file that draw random numbers, as the file names them."""
        ...

    def repeat_deviation(self) -> float:
        """Largest relative difference between five answers to the same input."""
        ...

    def keeps_state(self) -> bool | None:
        """Whether they differ since the file keeps a state between calls, not by chance; None where unknown."""
        ...

    @property
    def is_random(self) -> bool:
        """Whether it answers by chance: the file itself, or a defense before it."""
        ...

    @property
    def is_random_itself(self) -> bool:
        """Whether the file does."""
        ...

    @property
    def fresh_state(self) -> bool:
        """Whether what calls leave behind in the file is undone before each."""
        ...

    def batch_deviation(self) -> float | None:
        """Largest relative difference between an input alone and in a batch; None: batch 1 only."""
        ...

    def zero_weights(self) -> Mapping[str, tuple[int, int]]:
        """(zeros, all) of the weights of each layer, in the file's order; empty where none can be read."""
        ...

    def parity(self, points: NDArray[Any]) -> tuple[int, float, float, float | None]:
        """Twin against file: points compared, share of equal argmax, largest relative difference, and the same of
        the runtime with and without its optimisations, where that was measured."""
        ...


class Bench(Protocol):
    """What a check may use."""

    @property
    def target(self) -> MeasuredTarget:
        """The file."""
        ...

    threat: ThreatModel
    classes: int
    stability: bool
    declared_accuracy: float | None
    guarded: bool
    """Whether a detector stands beside the file, which rejects what is no success then."""

    def correct(self, most: int | None = None) -> Sequence[Sample]:
        """Samples answered correctly; with ``most`` a keyed subsample, the same in every session."""
        ...

    def sample(self, index: int) -> Sample:
        """A sample by its index."""
        ...

    def clean_counts(self) -> tuple[int, int]:
        """Samples answered correctly, and all that were drawn."""
        ...

    def clean_shifts(self) -> tuple[int, int]:
        """Samples whose answer is the class after their label, and the one before."""
        ...

    def clean_smallest(self) -> int:
        """Samples whose label is the class with the smallest score."""
        ...

    def clean_answers(self) -> tuple[list[int], list[int]]:
        """(answers, labels) of all samples that have both."""
        ...

    def clean_numbers(self) -> tuple[list[float], list[int]]:
        """(what the file says in its own numbers, labels), where it gives one number for two classes; else empty."""
        ...

    def run(
        self,
        attack: SlotAttack[Any],
        threat: ThreatModel,
        samples: Sequence[Sample],
        how: How | None = None,
        *,
        one_draw: bool = False,
    ) -> dict[int, UnitResult]:
        """Run an attack outside of the cascade, unculled; results by sample index.

        Each finished unit is journaled, so that a resumed audit does not run it again, and what it cost is the check's.

        Args:
            attack: the update rule.
            threat: the threat model.
            samples: that it runs on.
            how: its gradients are taken; None: as usual.
            one_draw: of a random target gradients are those of one draw each, and not means over many.
        """
        ...

    def search_frozen(self, attack: SlotAttack[Any], samples: Sequence[Sample]) -> dict[int, bool]:
        """Of a random target, whether an attack breaks each sample by index where every answer has the same draws; a
        sample that is answered wrongly then has no entry. It counts for nothing else."""
        ...

    def gradients(self, loss: Loss, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """[N] largest absolute entry of the gradient of a loss at each sample, as an attack is given it."""
        ...

    def slopes(self, loss: Loss, samples: Sequence[Sample], directions: NDArray[Any]) -> NDArray[np.float64]:
        """[N, D] slope of a loss at each sample along directions [D, *shape], by the gradient an attack is given."""
        ...

    def logits(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """[N, *shape] in u-space to [N, K] logits of what is differentiated, before a softmax or sigmoid."""
        ...

    def pulled(
        self, points: NDArray[Any], weights: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """([N, K] logits at points [N, *shape], [N, *shape] gradient of their sum with given weights).

        The weights [n, K] are those at logits [n, K], row by row, and held fixed: softmax minus a class's indicator
        gives the gradient of its cross-entropy.
        """
        ...

    def unstable(self, samples: Sequence[Sample]) -> Mapping[str, tuple[int, int]] | str:
        """(units that can be on either side of 0, all) of each ReLU within the ball around the samples, added up over
        them, by interval bounds; a clause that says why none are known."""
        ...

    def transferred(self) -> Mapping[str, tuple[int, int]]:
        """(samples fooled, tried) of the attacks made on surrogates that ran on every sample, by key, and under
        ``white-box`` of the cascade up to its last white-box attack; without what did not run to its end."""
        ...

    def scores(self, points: NDArray[Any], *, alone: bool = False) -> NDArray[Any]:
        """[N, *shape] in u-space to [N, K] scores of the file."""
        ...

    def draws(self, point: NDArray[Any], numbers: range) -> NDArray[np.int64]:
        """[M] classes that a random target answers to a point [*shape] at the draws of these numbers; -1: none, or it
        rejects the input."""
        ...

    def proved(self) -> Mapping[str, set[int]]:
        """By norm, the samples that a certifier proved in its ball."""
        ...

    def index_of(self, case: int) -> int:
        """The sample of a case."""
        ...

    def tries(self) -> Sequence[Breach]:
        """Of a random target, what came nearest to breaking each sample that stands: the point that most of its draws
        were fooled at."""
        ...

    def rejects(self, scores: NDArray[Any], point: NDArray[Any] | None = None) -> bool:
        """Whether the service rejects an input with these scores [K], or the detector the input [*shape], if given."""
        ...

    def nearest(self) -> Sequence[Breach]:
        """With a curve, the nearest verified adversarial example of each sample in each norm, outside of the ball too;
        of a sample with several goals that of the nearest."""
        ...

    def breaches(self) -> Sequence[Breach]:
        """Everything that the cascade broke."""
        ...

    def finished(self) -> Mapping[str, Access]:
        """Attacks of the cascade that ran to their end, with their access, in order; then those for the price of
        secrecy, whose breaches are what the cascade left."""
        ...

    def ran(self) -> Sequence[Ran]:
        """The attacks of the cascades that follow the gradient, sample by sample, and ran to their end, in order."""
        ...

    def search_smoothed(self, one: Ran, samples: Sequence[Sample], nodes: Collection[str]) -> dict[int, bool]:
        """Whether a search that ran breaks each sample, by index, where the backward is smooth at nodes of these names
        alone; none: by the true gradient. What it breaks counts for nothing else, and what it costs is the check's."""
        ...

    def attacks(self) -> Sequence[str]:
        """The keys of the white-box attacks that are to run, in order, so far as they serve a model of two classes."""
        ...

    def features(self, points: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
        """[N, *shape] in u-space to [N, F] what the last linear layer is given, and True; the logits, and False, where
        that layer is not found."""
        ...

    def search_planted(
        self, attack: str, planted: Sequence[Planted], among: Collection[int] | None = None
    ) -> dict[int, bool]:
        """Whether an attack of :meth:`attacks` finds an example of a sample's planted class in its ball, by index.

        What it costs is the check's; nothing of it is journaled but what the check measures.

        Args:
            attack: its key.
            planted: the model: all samples with their heads.
            among: indices of the samples that are attacked; None: all.
        """
        ...

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        """The losses that each white-box attack that is to run climbs, by its key."""
        ...
