"""Which samples checks search; apart from the contract, as it looks at attacks and units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robaudit.checks.base import Bench, leads

if TYPE_CHECKING:
    from robaudit.engine.units import Sample

__all__ = ["doubtful", "searchable", "standing"]


def searchable(bench: Bench, attack: str, most: int) -> list[Sample]:
    """A subsample to search with an attack by gradients: nothing where there is none, or none in the bench's norm."""
    from robaudit.attacks.registry import attack_classes

    fits = bench.target.has_gradient and bench.threat.norm in attack_classes()[attack].norms
    return list(bench.correct(most)) if fits else []


def doubtful(bench: Bench, attack: str, most: int) -> list[Sample]:
    """The same, but nothing where every sample fell either: a search that misses something then misleads nobody."""
    return searchable(bench, attack, most) if len(_fallen(bench)) < len(bench.correct()) else []


def standing(bench: Bench, samples: Sequence[Sample], most: int | None = None) -> list[Sample]:
    """Those of some samples that nothing broke under the bench's threat model.

    Args:
        bench: knows what fell.
        samples: any.
        most: how many; the nearest to falling by the file's answer to them, as there a miss is found soonest.
    """
    from robaudit.engine.units import sample_of

    fallen = _fallen(bench)
    left = [sample for sample in samples if sample_of(sample.index) not in fallen]
    if most is None or len(left) <= most:
        return left
    lead = {sample.index: -float(leads(sample.clean[None], sample.label)[0]) for sample in left}
    return sorted(left, key=lambda sample: (np.nan_to_num(lead[sample.index], nan=np.inf), sample.index))[:most]


def _fallen(bench: Bench) -> set[int]:
    """The samples that something broke under the bench's threat model."""
    from robaudit.engine.units import sample_of

    return {sample_of(breach.sample) for breach in bench.breaches() if breach.threat in (None, bench.threat)}
