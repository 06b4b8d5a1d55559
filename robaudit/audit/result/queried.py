"""The queries of an attack over all its samples, from those of each."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

from robaudit.audit.result.document import Attack, Queried, Sample, Spent

__all__ = ["queried", "spent_by"]


def spent_by(samples: Sequence[Sample], attack: str) -> dict[int, Spent]:
    """The queries of an attack on each sample that it asked any of, by index."""
    return {sample.index: spent for sample in samples for spent in sample.spent if spent.attack == attack}


def queried(samples: Sequence[Sample], attack: Attack, broken: Collection[int]) -> Queried | None:
    """What the queries of an attack came to; None where it asked none, or an older result does not tell of each.

    Args:
        samples: those that were attacked.
        attack: with the number of samples that it was tried on, of which one without a query counts as 0.
        broken: samples that it broke, by index.
    """
    spent = spent_by(samples, attack.id)
    if not spent:
        return None
    each = [entry.queries for entry in spent.values()]
    each += [0] * (attack.attempted - len(each))
    successes = [entry.queries for index, entry in spent.items() if index in broken]
    first = [entry.first_flagged for entry in spent.values() if entry.first_flagged is not None]
    return Queried(
        median=statistics.median(each),
        mean=statistics.fmean(each),
        median_to_success=statistics.median(successes) if successes else None,
        most_to_success=max(successes, default=None),
        repeated=sum(entry.repeated for entry in spent.values()),
        bad=sum(entry.bad for entry in spent.values()),
        watched=sum(entry.watched for entry in spent.values()),
        flagged=sum(entry.flagged for entry in spent.values()),
        flagged_samples=len(first),
        median_first_flagged=statistics.median(first) if first else None,
        burst=max(entry.burst for entry in spent.values()),
    )
