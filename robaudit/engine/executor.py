"""Runs jobs: an attack on units, wherever that is done. Today in this process; several devices shard the same jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from robaudit.attacks.base import SlotAttack
from robaudit.engine.care import NO_CARE, Care
from robaudit.engine.engine import Engine
from robaudit.engine.units import Sample, SampleSource, Sink, Unit, UnitResult, plan_units, sample_of
from robaudit.threat.model import ThreatModel

__all__ = ["Executor", "Job", "LocalExecutor"]


@dataclass(frozen=True)
class Job:
    """What is to be run; picklable.

    Args:
        attack: the update rule with its parameters.
        threat: norm, radius and goal.
        units: lowest rank first; a success of a unit drops the sample's later ones, unless the smallest distance is
            sought.
        key: name that keys the random numbers.
        draws: of a random model that every differentiable request averages.
        radii: a radius of its own for each of these cases, as a fraction of the domain's width.
        any_wrong: any wrong class counts, whatever class a sample is to be made to answer.
        won: units that succeeded in an earlier session, by sample.
        finished: those of the units that an earlier session carried to their end.
    """

    attack: SlotAttack[Any]
    threat: ThreatModel
    units: tuple[Unit, ...]
    key: str
    draws: int = 1
    radii: Mapping[int, float] = field(default_factory=dict)
    any_wrong: bool = False
    won: Mapping[int, Unit] = field(default_factory=dict)
    finished: Collection[Unit] = ()

    def sample(self, sample: Sample) -> Sample:
        """A sample as the job sees it: with its own radius and goal."""
        if self.any_wrong:
            sample = replace(sample, target=-1)
        radius = self.radii.get(sample.index)
        return sample if radius is None else replace(sample, eps=radius)


class Executor(Protocol):
    """Runs jobs.

    ``seed`` is that of all keyed random numbers, ``classes`` the target's, ``shape`` that of one sample.
    """

    seed: int
    classes: int
    shape: tuple[int, ...]

    def run(self, job: Job, samples: SampleSource, sink: Sink) -> bool:
        """Run a job; each finished unit goes to ``sink`` once.

        Args:
            job: what is to be run.
            samples: loads the sample of a case; a :class:`RobauditError` costs that unit alone.
            sink: called once for every unit that finished.

        Returns:
            Whether every unit was carried to its end.
        """
        ...

    def units(self, attack: SlotAttack[Any], threat: ThreatModel, cases: Sequence[int]) -> tuple[Unit, ...]:
        """All units of an attack on cases, lowest rank first."""
        ...


class LocalExecutor:
    """Runs jobs on an engine of this process.

    Args:
        engine: holds the models.
        stop: asked between steps; True ends a job with the units in flight unfinished.
        care: samples that the model does not answer, and those that are to be asked alone.
    """

    def __init__(self, engine: Engine, stop: Callable[[], bool] = lambda: False, care: Care = NO_CARE) -> None:
        self.seed = engine.seed
        self.classes = engine.classes
        self.shape = engine.shape
        self._engine = engine
        self._stop = stop
        self._care = care

    def units(self, attack: SlotAttack[Any], threat: ThreatModel, cases: Sequence[int]) -> tuple[Unit, ...]:
        """All units of an attack on cases, lowest rank first."""
        return tuple(plan_units(attack, threat.goal, cases, self.classes))

    def run(self, job: Job, samples: SampleSource, sink: Sink) -> bool:
        """Run a job; see :class:`Executor`."""
        done = set(job.finished)

        def take(result: UnitResult) -> None:
            done.add(result.unit)
            sink(result)

        for unit in job.units:
            error = self._care.lost.get(sample_of(unit.sample))
            if error is not None and unit not in done:
                take(UnitResult(unit, False, error=error))
        left = tuple(unit for unit in job.units if sample_of(unit.sample) not in self._care.lost)
        suspects = tuple(unit for unit in left if sample_of(unit.sample) in self._care.suspects)
        if job.attack.cohort_size:
            suspects = ()
        singly = self._engine.singly()
        return self._run(singly, job, suspects, samples, take, done) and self._run(
            self._engine, job, left, samples, take, done
        )

    def _run(
        self,
        engine: Engine,
        job: Job,
        units: tuple[Unit, ...],
        samples: SampleSource,
        sink: Sink,
        done: Collection[Unit],
    ) -> bool:
        return engine.run(
            job.attack,
            job.threat,
            units,
            lambda case: job.sample(samples(case)),
            sink,
            stop=self._stop,
            won=dict(job.won),
            key=job.key,
            draws=job.draws,
            finished=done,
        )
