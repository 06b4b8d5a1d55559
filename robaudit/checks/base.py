"""The contract of a check: measure with the bench, then judge the measurement alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import attack_parameters
from robaudit.checks.bench import Bench, MeasuredTarget
from robaudit.checks.facts import CheckFacts
from robaudit.checks.handed import Breach, Planted, Ran
from robaudit.stats.rates import lower_bound

__all__ = [
    "Bench",
    "Breach",
    "Check",
    "Finding",
    "Measured",
    "MeasuredTarget",
    "Planted",
    "Ran",
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
        sign: of a check that tells of masked gradients: a warning is a sign of them, and no chance.
        operators: those that it found to mask, as ``Op (node)``.
    """

    status: Literal["pass", "warn", "fail", "skipped"]
    message: str
    value: float | None = None
    threshold: float | None = None
    sign: bool = True
    operators: tuple[str, ...] = ()


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
