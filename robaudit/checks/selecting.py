"""Which samples checks search; apart from the contract, as it looks at attacks and units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robaudit.checks.base import Bench

if TYPE_CHECKING:
    from robaudit.engine.units import Sample

__all__ = ["searchable", "standing"]


def searchable(bench: Bench, attack: str, most: int) -> list[Sample]:
    """A subsample to search with an attack by gradients: nothing where there is none, or none in the bench's norm."""
    from robaudit.attacks.registry import attack_classes

    fits = bench.target.has_gradient and bench.threat.norm in attack_classes()[attack].norms
    return list(bench.correct(most)) if fits else []


def standing(bench: Bench, samples: Sequence[Sample]) -> list[Sample]:
    """Those of some samples that nothing broke under the bench's threat model."""
    from robaudit.engine.units import sample_of

    fallen = {sample_of(breach.sample) for breach in bench.breaches() if breach.threat in (None, bench.threat)}
    return [sample for sample in samples if sample_of(sample.index) not in fallen]
