"""A pilot: an expensive attack on the nearest of what stands, and on the others only where that pays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from robaudit.audit.session.samples import SampleStore
from robaudit.engine.job import Job
from robaudit.engine.units import UnitResult, sample_of

__all__ = ["Pilot", "nearest"]

SHARE = 0.2
"""Of the pilot's samples that have to fall for the others to be tried."""


def nearest(cases: Sequence[int], store: SampleStore, most: int) -> list[int]:
    """Those of some cases that are nearest to falling, by the file's scores of the unperturbed sample.

    Whatever the order of the samples in the data, they are the same.
    """

    def key(case: int) -> tuple[float, str, int]:
        lead = store.lead(case)
        return np.inf if np.isnan(lead) else -lead, store.answers[sample_of(case)].digest, case

    return sorted(cases, key=key)[:most]


class Pilot:
    """Runs a job on some of its cases, then on the others if enough of these fell.

    Args:
        cases: the nearest, to begin with.
        others: how many there are beside them.
    """

    def __init__(self, cases: Sequence[int], others: int) -> None:
        self.cases = cases
        self._others = others
        self.ended: str | None = None

    @classmethod
    def of(cls, cases: Sequence[int], store: SampleStore, most: int | None) -> Pilot | None:
        """On the nearest of some cases; None where no number is given, or there are no others."""
        if most is None or len(cases) <= most:
            return None
        return cls(nearest(cases, store, most), len(cases) - most)

    def run(
        self, job: Job, execute: Callable[[Job, Callable[[UnitResult], None]], bool], take: Callable[[UnitResult], None]
    ) -> bool:
        """Whether all units came to their end that were to be run; ``ended`` says why the others were not.

        Args:
            job: all units, those among them that were finished earlier, and what these won.
            execute: runs a job, whose results go to its second argument.
            take: gets the results too.
        """
        mine = frozenset(self.cases)
        finished, won = set(job.finished), dict(job.won)

        def note(result: UnitResult) -> None:
            finished.add(result.unit)
            if result.success:
                won[result.unit.sample] = min(result.unit, won.get(result.unit.sample, result.unit))
            take(result)

        first = replace(
            job,
            units=tuple(unit for unit in job.units if unit.sample in mine),
            won={case: unit for case, unit in won.items() if case in mine},
            finished=frozenset(unit for unit in finished if unit.sample in mine),
        )
        if not execute(first, note):
            return False
        fell = len(mine & won.keys())
        if fell < math.ceil(SHARE * len(mine)):
            self.ended = (
                f"broke {fell or 'none'} of the {len(mine)} nearest to falling, so that it did not run on the "
                f"other {self._others}"
            )
            return True
        return execute(replace(job, won=won, finished=frozenset(finished)), take)
