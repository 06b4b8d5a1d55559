"""Runs jobs: an attack on units, wherever that is done. Today in this process; several devices shard the same jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from robaudit.attacks.base import SlotAttack
from robaudit.engine.care import NO_CARE, Care
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import SampleSource, Sink, Unit, UnitResult, plan_units, sample_of
from robaudit.threat.model import ThreatModel

__all__ = ["Executor", "LocalExecutor"]


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

    def fit(
        self, job: FitJob, samples: SampleSource, before: Fitted | None, sink: Callable[[Fitted], None]
    ) -> Fitted | None:
        """Fit the artefact of a fitted attack.

        Args:
            job: what is to be fitted.
            samples: loads the sample at a position, with the file's own clean answer as its label.
            before: what an earlier session came to; None: begin.
            sink: called after each round.

        Returns:
            The artefact of the last round; None where the fit was stopped.
        """
        ...

    def units(self, attack: SlotAttack[Any], threat: ThreatModel, cases: Sequence[int]) -> tuple[Unit, ...]:
        """All units of an attack on cases, lowest rank first."""
        ...

    def on(self, oracle: Oracle) -> Executor:
        """The same for jobs on another model of such samples, see :meth:`Engine.on`."""
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

    def on(self, oracle: Oracle) -> LocalExecutor:
        """The same for jobs on another model; see :class:`Executor`."""
        return LocalExecutor(self._engine.on(oracle), self._stop, self._care)

    def fit(
        self, job: FitJob, samples: SampleSource, before: Fitted | None, sink: Callable[[Fitted], None]
    ) -> Fitted | None:
        """Fit an artefact; see :class:`Executor`."""
        return self._engine.fit(job, samples, before, sink, self._stop)

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
        if suspects and not job.attack.cohort_size:
            alone = replace(job, units=suspects, finished=done)
            if not self._engine.singly().run(alone, samples, take, self._stop):
                return False
        return self._engine.run(replace(job, units=left, finished=done), samples, take, self._stop)
