"""The engine: runs jobs on the models that it holds, a batch of slots at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from robaudit.attacks.base import StartingPool
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.fitting import FitJob, Fitted, carry_out
from robaudit.engine.job import Job
from robaudit.engine.judge import Judge
from robaudit.engine.oracle import Oracle
from robaudit.engine.precision import Precision
from robaudit.engine.run import Means, Run
from robaudit.engine.units import SampleSource, Sink
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["EXPECTED", "Engine"]

EXPECTED = 16
"""Draws of a random target over which a gradient is the mean: expectation over transformation (Athalye, Carlini, Wagner
2018, "Obfuscated Gradients Give a False Sense of Security", section 4.2)."""


class Engine:
    """Runs the units of jobs; holds nothing of a job that is over.

    Args:
        oracle: asks the models.
        slots: units in flight at once.
        seed: of all keyed random numbers.
        pool: samples that attacks may start from.
        micro_batch: most rows of one model call; None: as many as there are slots.
        precision: that the differentiable models run in.
        watch: told which samples are asked.
    """

    def __init__(
        self,
        oracle: Oracle,
        slots: int,
        seed: int,
        pool: StartingPool,
        *,
        micro_batch: int | None = None,
        precision: Precision = Precision.FLOAT32,
        watch: Watch = UNWATCHED,
    ) -> None:
        self.oracle = oracle
        self.slots = slots
        self.seed = seed
        self.pool = pool
        self.watch = watch
        self.evaluator = Evaluator(oracle, micro_batch or slots, precision)
        self.judge = Judge(oracle)
        self.expected = EXPECTED if oracle.is_random else 1

    @property
    def classes(self) -> int:
        """Classes of the target."""
        return self.oracle.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample in u-space."""
        return tuple(self.pool.points.shape[1:])

    @property
    def shrunk_to(self) -> int | None:
        """Rows of one model call where memory ran out for as many as were asked for, else None."""
        return self.evaluator.micro_batch if self.evaluator.halvings else None

    def singly(self) -> Engine:
        """The same with one unit in flight."""
        single = copy.copy(self)
        single.slots = 1
        return single

    def on(self, oracle: Oracle) -> Engine:
        """The same on other models, whose samples have the same shape; every sample to start from is of class 0."""
        pool = StartingPool(self.pool.points, torch.zeros_like(self.pool.labels))
        rows, precision = self.evaluator.micro_batch, self.evaluator.precision
        return Engine(oracle, self.slots, self.seed, pool, micro_batch=rows, precision=precision, watch=self.watch)

    def run(self, job: Job, samples: SampleSource, sink: Sink, stop: Callable[[], bool] = lambda: False) -> bool:
        """Run a job to its end; each finished unit goes to ``sink`` at once, of a cohort all at its end.

        Args:
            job: what is to be run.
            samples: loads the sample of a case; a :class:`RobauditError` costs that unit alone.
            sink: called once for every unit that finished.
            stop: asked between steps; True ends the run with the units in flight unfinished.

        Returns:
            Whether every unit was carried to its end.
        """
        return Run(self._means, job, lambda case: job.sample(samples(case)), sink, stop).carry_out()

    def fit(
        self,
        job: FitJob,
        samples: SampleSource,
        before: Fitted | None,
        sink: Callable[[Fitted], None],
        stop: Callable[[], bool] = lambda: False,
    ) -> Fitted | None:
        """Fit the artefact of a fitted attack; see :func:`robaudit.engine.fitting.carry_out`."""
        return carry_out(self._means, job, samples, before, sink, stop)

    @property
    def _means(self) -> Means:
        return Means(
            self.oracle, self.evaluator, self.judge, self.slots, self.seed, self.pool, self.watch, self.expected
        )
