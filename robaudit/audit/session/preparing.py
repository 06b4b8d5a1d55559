"""What is done with the models before anything is attacked: they are measured, and samples to start from are chosen."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from robaudit.attacks.base import StartingPool
from robaudit.audit.session.loading import Loaded, measure_beside
from robaudit.audit.session.samples import SampleStore
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.refusals import REFUSALS
from robaudit.errors import FinalError, UnreadableSampleError, UsageError
from robaudit.target.running.watch import Watch
from robaudit.target.target import Target
from robaudit.threat.random import key_of

__all__ = ["measure", "starting_pool"]

POOL = 24
"""Samples that attacks may start from."""


def measure(loaded: Loaded, watch: Watch) -> tuple[int, torch.Tensor] | None:
    """Batch invariance, determinism and the kind of the output, on real samples; returns one of them, by index.

    Args:
        loaded: the models, which know it from then on.
        watch: notified of the samples.

    Raises:
        UsageError: it cannot be known what the output means.
    """
    points = loaded.measured()
    if points is None:
        return None
    with watch.about("it was measured", loaded.measured_on()):
        return _measure(loaded, points)


def _measure(loaded: Loaded, points: torch.Tensor) -> tuple[int, torch.Tensor]:
    first = 0
    try:
        loaded.target.measure(points)
    except FinalError:
        raise
    except REFUSALS:
        answered = _answered(loaded.target, points)
        if not answered or len(answered) == len(points):
            raise
        first, points = answered[0], points[answered]  # one that the model refuses costs itself alone
        loaded.target.measure(points)
    if loaded.target.undecided is not None:
        raise UsageError(loaded.target.undecided)
    measure_beside(loaded, points)
    if loaded.target.gradient.available:
        loaded.target.calibrate()
    return loaded.measured_on()[first], points[0]


def _answered(target: Target, points: torch.Tensor) -> list[int]:
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
