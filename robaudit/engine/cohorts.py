"""The loop of attacks that may mix samples: one cohort after the other, each in lockstep to its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.engine.in_flight import InFlight
from robaudit.engine.units import (
    Sample,
    SampleSource,
    Sink,
    Unit,
    UnitResult,
    by_rank,
    in_cohorts,
    loaded,
    still_standing,
)

__all__ = ["Cohorts"]


@dataclass(frozen=True)
class Cohorts:
    """Runs units in cohorts, whose members are the same in every session and at every batch size.

    Args:
        size: most members.
        samples: loads a sample by its index.
        start: the pool of new members.
        advance: one step of a pool; results go to the sink, and what finished ([S] bool) stays in the pool.
        stop: asked between steps.
    """

    size: int
    samples: SampleSource
    start: Callable[[list[tuple[Unit, Sample]]], InFlight]
    advance: Callable[[InFlight, Sink], tuple[InFlight, Tensor | None]]
    stop: Callable[[], bool]

    def run(self, units: Iterable[Unit], emit: Sink, won: Mapping[int, Unit], finished: Collection[Unit]) -> bool:
        """One cohort after the other; restarts and aims one after the other too, so that members are fixed.

        A cohort that an earlier session did not carry to its end runs again, since its members share their search.

        Args:
            units: all.
            emit: called once for every unit that was not ``finished``.
            won: units that succeeded, by sample; ``emit`` may add to them.
            finished: units that an earlier session carried to their end.

        Returns:
            Whether every unit was carried to its end.
        """

        def give(result: UnitResult) -> None:
            if result.unit not in finished:
                emit(result)

        for group in by_rank(units):
            standing = [unit for unit in group if still_standing(unit, won)]
            digests = {unit: sample.digest for unit in standing for _, sample in loaded([unit], self.samples, give)}
            for members in in_cohorts(digests, self.size):
                if all(unit in finished for unit in members):
                    continue
                fresh = loaded(members, self.samples, give)
                results = self._cohort(self.start(fresh)) if fresh else []
                if results is None:
                    return False
                for result in results:
                    give(result)
        return True

    def _cohort(self, pool: InFlight) -> list[UnitResult] | None:
        """Results of the members, searched in lockstep; None if stopped."""
        results: list[UnitResult] = []
        ended = torch.zeros_like(pool.problem.label, dtype=torch.bool)
        while not bool(ended.all()):
            if self.stop():
                return None
            pool = dataclasses.replace(pool, problem=dataclasses.replace(pool.problem, ended=ended))
            pool, gone = self.advance(pool, results.append)
            ended = ended if gone is None else ended | gone
        return results
