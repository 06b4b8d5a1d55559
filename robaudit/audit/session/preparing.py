"""What is done with the models before anything is attacked: they are measured, and samples to start from are chosen."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from robaudit.attacks.base import StartingPool
from robaudit.audit.session.beside import measure_beside
from robaudit.audit.session.loaded import Loaded, Opened
from robaudit.audit.session.samples import SampleStore
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.refusals import REFUSALS
from robaudit.errors import FinalError, UnreadableSampleError, UsageError
from robaudit.target.reading import measured as measuring
from robaudit.target.reading.measured import Measured, unmeasured
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.running.watch import Watch
from robaudit.target.target import Target, declared_gradient, ready
from robaudit.threat.random import key_of

__all__ = ["completed", "measure", "starting_pool"]

POOL = 24
"""Samples that attacks may start from."""


def measure(opened: Opened, watch: Watch) -> tuple[Loaded, tuple[int, torch.Tensor] | None]:
    """Measure the models on real samples: batch invariance, determinism and the kind of the output; try the gradient.

    Args:
        opened: the models.
        watch: notified of the samples.

    Returns:
        The models measured, and one of the samples, by index; none, and nothing measured, where none can be read.

    Raises:
        UsageError: it cannot be known what the output means.
    """
    points = opened.measured()
    if points is None:
        slope = declared_gradient(opened.opened, stand_in=opened.stand_in, no_gradient=opened.no_gradient)
        return opened.loaded(Target(unmeasured(opened.opened), slope)), None
    with watch.about("it was measured", opened.measured_on()):
        return _measure(opened, points)


def _measure(opened: Opened, points: torch.Tensor) -> tuple[Loaded, tuple[int, torch.Tensor]]:
    first = 0
    try:
        measured = measuring.measure(opened.opened, points)
    except FinalError:
        raise
    except REFUSALS:
        answered = _answered(opened.opened, points)
        if not answered or len(answered) == len(points):
            raise
        first, points = answered[0], points[answered]  # one that the model refuses costs itself alone
        measured = measuring.measure(opened.opened, points)
    if measured.undecided is not None:
        raise UsageError(measured.undecided)
    measure_beside(opened, points)
    return opened.loaded(completed(opened, measured)), (opened.measured_on()[first], points[0])


def completed(opened: Opened, measured: Measured) -> Target:
    """The target, its gradient tried; ``measured``: what was found out about it, if anything."""
    return ready(measured, stand_in=opened.stand_in, no_gradient=opened.no_gradient, compiles=opened.compiles)


def _answered(target: OpenedTarget, points: torch.Tensor) -> list[int]:
    """Places of those points that the file answers."""
    found, oracle = [], Oracle(target)
    for place, row in enumerate(points):
        with contextlib.suppress(*REFUSALS):
            oracle.ask(row[None], Purpose.MEASURE, alone=True)
            found.append(place)
    return found


def starting_pool(oracle: Oracle, store: SampleStore) -> StartingPool:
    """Samples to start from, chosen and ordered by content so that the data's order does not matter."""
    ordered = sorted(store.answers.values(), key=lambda a: (key_of("pool", a.digest), a.index))[:POOL]
    found, lost = [], None
    for answered in ordered:
        try:
            found.append((store(answered.index).u, answered.label))
        except UnreadableSampleError as error:  # any more
            lost = error
    if not found and lost is not None:
        raise lost
    points = torch.from_numpy(np.stack([u for u, _ in found])).to(oracle.device, oracle.dtype)
    labels = torch.tensor([label for _, label in found], dtype=torch.int64, device=oracle.device)
    return StartingPool(points, labels)
