"""What a bench hands to checks: what fell, which attacks ran, and samples with a planted example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # profiles and reports read what checks declare, without torch
    from robaudit.attacks.base import SlotAttack
    from robaudit.attacks.requests import How
    from robaudit.engine.units import Sample
    from robaudit.threat.model import Access, ThreatModel

__all__ = ["Breach", "Planted", "Ran"]


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


@dataclass(frozen=True)
class Planted:
    """A sample with a head of two classes, put in the place of the file's last layer; see
    :meth:`robaudit.checks.bench.Bench.search_planted`.

    Args:
        sample: whose head it is.
        weights: [F] float64, of the features; above 0 is the class of the planted example, with the ``bias`` added.
        bias: of the head.
    """

    sample: Sample
    weights: NDArray[np.float64]
    bias: float


@dataclass(frozen=True)
class Ran:
    """An attack of a cascade that follows the gradient and ran to its end.

    Args:
        key: as :class:`Breach` names it.
        attack: the update rule.
        how: its gradients were taken.
        threat: the threat model that it ran under.
        smooth: whether they went by a smooth backward, and not by the true one.
    """

    key: str
    attack: SlotAttack[Any]
    how: How
    threat: ThreatModel
    smooth: bool
