"""The smallest verified distances that a journal holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.engine.units import sample_of
from robaudit.threat.arrays import TOLERANCE

__all__ = ["nearest_records", "smallest_distances"]


def smallest_distances(journal: Journal, keys: frozenset[str], eps: float) -> dict[int, tuple[float, str]]:
    """The smallest verified distance of each sample that has one, and the attack that found it first.

    Args:
        journal: holds the units.
        keys: attacks of one norm.
        eps: radius of the threat model; no success within it is told as lying outside.
    """
    found: dict[int, tuple[float, str]] = {}
    for distance, record in _verified(journal, keys, eps):
        if distance < found.get(record.sample, (math.inf, ""))[0]:
            found[record.sample] = distance, record.attack
    return found


def nearest_records(journal: Journal, keys: Collection[str], eps: float) -> dict[int, FinishedUnit]:
    """The unit of the smallest verified distance of each sample, with the point that it found.

    Args:
        journal: holds the units.
        keys: attacks of one norm.
        eps: radius of the threat model.
    """
    found: dict[int, tuple[float, FinishedUnit]] = {}
    for distance, record in _verified(journal, frozenset(keys), eps):
        sample = sample_of(record.sample)
        known = found.get(sample)
        nearer = known is None or distance < known[0]
        if nearer or (known is not None and distance == known[0] and known[1].point is None):
            found[sample] = distance, record
    return {sample: record for sample, (_, record) in sorted(found.items()) if record.point is not None}


def _verified(journal: Journal, keys: frozenset[str], eps: float) -> Iterator[tuple[float, FinishedUnit]]:
    """The units whose adversarial examples count at their distance."""
    records = [record for record in journal.of(FinishedUnit) if record.attack in keys]
    winners = _winners(records)
    for record in records:
        if record.sought is not None or winners.get((record.attack, record.sample)) is record:
            distance = verified_distance(record, eps)
            if distance is not None:
                yield distance, record


def _winners(records: Iterable[FinishedUnit]) -> dict[tuple[str, int], FinishedUnit]:
    """The lowest successful unit of each attack of the cascade on each sample.

    Whether a higher one came to its end before it was released depends on the batch size.
    """
    found: dict[tuple[str, int], FinishedUnit] = {}
    for record in records:
        if record.success and record.sought is None:
            key = record.attack, record.sample
            found[key] = min(found.get(key, record), record, key=lambda r: (r.restart, r.aim))
    return found


def verified_distance(record: FinishedUnit, eps: float) -> float | None:
    """Distance of the unit's adversarial example, None where it found none that counts at any radius."""
    verified = record.success if record.sought is None else record.sought.verified
    if not verified or record.distance is None:
        return None
    # the judge's radius is that of the search's float type: a rounding above eps
    return min(record.distance, eps + TOLERANCE) if record.success else record.distance
