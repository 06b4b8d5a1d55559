"""The contract of a check: measure with the bench, then judge the measurement alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import attack_parameters
from robaudit.checks.facts import CheckFacts
from robaudit.stats.rates import lower_bound

if TYPE_CHECKING:  # profiles and reports read what checks declare, without torch
    from robaudit.attacks.base import SlotAttack
    from robaudit.engine.units import Sample, UnitResult
    from robaudit.threat.losses import Loss
    from robaudit.threat.model import Access, ThreatModel

__all__ = [
    "Bench",
    "Breach",
    "Check",
    "Finding",
    "Measured",
    "MeasuredTarget",
    "check_settings",
    "fires",
    "leads",
]

check_settings = attack_parameters
"""Class decorator: the fields of a check are its settings, which a profile gives and pydantic checks.

The types in :mod:`robaudit.attacks.parameters` bound them; a field's docstring says what it is.
"""

Measured = Mapping[str, Any]
"""JSON values, kept in the journal."""


@dataclass(frozen=True)
class Finding:
    """The verdict of a check.

    Args:
        status: fail withholds the headline; warn marks it unreliable.
        message: one sentence.
        value: what was measured; ``threshold``: what it was compared with.
    """

    status: Literal["pass", "warn", "fail", "skipped"]
    message: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Breach:
    """A sample that fell: which attack broke it, with what access; ``load`` reads the point kept as evidence.

    Of a sample with several goals, ``sample`` is the number of the case. ``threat`` is the threat model that it fell
    under; None: that of the bench.
    """

    sample: int
    attack: str
    access: Access
    prediction: int
    distance: float
    load: Callable[[], NDArray[Any]]
    threat: ThreatModel | None = None

    @property
    def point(self) -> NDArray[Any]:
        """[*shape] in u-space, as it was stored."""
        return self.load()


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
    def cuts(self) -> Sequence[str]:
        """Operators between input and scores without a useful derivative, as ``Op (node)``."""
        ...

    def repeat_deviation(self) -> float:
        """Largest relative difference between five answers to the same input."""
        ...

    def keeps_state(self) -> bool | None:
        """Whether they differ since the file keeps a state between calls, not by chance; None where unknown."""
        ...

    @property
    def fresh_state(self) -> bool:
        """Whether what calls leave behind in the file is undone before each."""
        ...

    def batch_deviation(self) -> float | None:
        """Largest relative difference between an input alone and in a batch; None: batch 1 only."""
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

    def run(self, attack: SlotAttack[Any], threat: ThreatModel, samples: Sequence[Sample]) -> dict[int, UnitResult]:
        """Run an attack outside of the cascade, unculled; results by sample index.

        Each finished unit is journaled, so that a resumed audit does not run it again, and what it cost is the check's.
        """
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

    def scores(self, points: NDArray[Any], *, alone: bool = False) -> NDArray[Any]:
        """[N, *shape] in u-space to [N, K] scores of the file."""
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

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        """The losses that each white-box attack that is to run climbs, by its key."""
        ...


class Check(ABC):
    """A check. ``measure`` runs what it needs; ``verdict`` is a pure function of the measurement and the settings.

    Its module is imported wherever profiles and reports are read: what needs torch is imported inside of ``measure``.
    """

    facts: ClassVar[CheckFacts]
    """All that the rest of an audit knows of it."""
    id: ClassVar[str]
    """That of its facts."""

    def __init_subclass__(cls) -> None:
        if "facts" in vars(cls):
            cls.id = cls.facts.id

    @abstractmethod
    def measure(self, bench: Bench) -> Measured:
        """Run and collect; only JSON values."""

    @abstractmethod
    def verdict(self, measured: Measured) -> Finding:
        """Judge what was measured."""


def fires(k: int, n: int, points: float) -> bool:
    """Whether k of n exceed a threshold in percentage points for sure: k ≥ 3 and a one-sided 95 % bound above."""
    return k >= 3 and n > 0 and lower_bound(k, n) > points / 100


def leads(logits: NDArray[np.float64], label: int) -> NDArray[np.float64]:
    """[N] lead of the best other class over the label, of logits [N, K]."""
    found: NDArray[np.float64] = np.delete(logits, label, axis=1).max(1) - logits[:, label]
    return found
