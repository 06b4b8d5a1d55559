"""What the black-box benchmark measures, and how: queries are counted by the model, not by the attack that asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import attacked
from scipy.stats import t as student
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.target.target import Target
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm, distance

__all__ = ["TOLERANCE", "Case", "Meter", "Outcome", "Peer", "StopError", "ours", "paired", "pooled", "theirs"]

TOLERANCE = 1e-6
"""By which a point may lie outside of the ball, as a fraction of the domain's width."""


@dataclass(frozen=True)
class Case:
    """What an attack is measured on.

    Args:
        target: the file.
        samples: those that it classifies correctly.
        norm: of the threat model.
        eps: radius; None: the smallest distance is sought until the budget ends.
        budget: queries a sample.
        marks: numbers of queries at which the distance is noted as well, ascending.
    """

    target: Target
    samples: list[Sample]
    norm: Norm
    eps: float | None
    budget: int
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Of one attack on all samples.

    Args:
        name: whose.
        queries: [N] until the success, the budget where there is none.
        spent: [N] queries that were asked, fewer than the budget where an attack gives up.
        success: [N] bool.
        distances: [marks + 1, N] of the nearest fooling point after so many queries, infinite where there is none; the
            last row at the end.
        seconds: CPU time a sample, which other work on the machine does not lengthen as it does wall time.
    """

    name: str
    queries: np.ndarray
    spent: np.ndarray
    success: np.ndarray
    distances: np.ndarray
    seconds: float

    def __post_init__(self) -> None:
        if not len(self.queries) == len(self.success) == self.distances.shape[1]:
            raise ValueError(f"{self.name}: not one figure for each sample")


def pooled(outcomes: Sequence[Outcome]) -> Outcome:
    """Those of several seeds as one, each sample as often as there are seeds."""
    fields = ("queries", "spent", "success", "distances")
    joined = {name: np.concatenate([getattr(one, name) for one in outcomes], -1) for name in fields}
    return Outcome(outcomes[0].name, seconds=float(np.mean([one.seconds for one in outcomes])), **joined)


def paired(theirs: np.ndarray, ours: np.ndarray, samples: int) -> str:
    """Geometric mean over samples of ours / theirs, with a 95 % interval of Student's t; seeds of a sample are one.

    Args:
        theirs, ours: [seeds x samples] queries or distances, as :func:`pooled` leaves them; those that are not finite
            on both sides are left out.
        samples: how many.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(ours / theirs).reshape(-1, samples)
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    each = np.nanmean(ratio[:, ~np.isnan(ratio).all(0)], 0)
    if len(each) < 2:
        return "-"
    half = float(student.ppf(0.975, len(each) - 1)) * each.std(ddof=1) / len(each) ** 0.5
    low, middle, high = np.exp([each.mean() - half, each.mean(), each.mean() + half])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


class StopError(Exception):
    """The attack on this sample is over: it succeeded, or its budget is spent."""


class Meter(nn.Module):
    """The file as a module for one sample's attack. It ends the attack by :class:`StopError`.

    Points are brought into the box first. The sample itself, and a point that was asked before, are answered from
    memory and cost nothing: some public code asks twice where it counts once. The first row of a batch that fools
    within the ball ends the attack, and rows after it are not counted.

    Args:
        case: what is measured.
        sample: which sample.
    """

    def __init__(self, case: Case, sample: Sample) -> None:
        super().__init__()
        self.case, self.label = case, sample.label
        self.x = torch.from_numpy(sample.u).float()
        self.known = {hash(self.x.numpy().tobytes()): torch.from_numpy(np.asarray(sample.clean)).float()}
        self.queries, self.success, self.free = 0, False, False
        self.nearest: list[tuple[int, float]] = []

    def forward(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to scores [N, K]."""
        points = u.detach().cpu().float().reshape(-1, *self.x.shape).clamp(0, 1).contiguous()
        keys = [hash(p.tobytes()) for p in points.numpy()]
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self.known}
        if new:
            rows = torch.tensor(sorted(new.values()))
            self._ask([keys[i] for i in rows.tolist()], points[rows])
        none = torch.empty(0, self.case.target.num_classes)
        return torch.stack([self.known[key] for key in keys]) if keys else none

    def _ask(self, keys: list[int], points: Tensor) -> None:
        left = self.case.budget - self.queries
        scores = self.case.target.scores(points[:left]).float()
        self.known.update(zip(keys, scores, strict=False))
        if self.free:
            return
        fooled = scores.argmax(1) != self.label
        for i in fooled.nonzero()[:, 0].tolist():
            size = float(distance(self.case.norm, points[i : i + 1] - self.x[None]))
            if not self.nearest or size < self.nearest[-1][1]:
                self.nearest.append((self.queries + i + 1, size))
            if self.case.eps is not None and size <= self.case.eps + TOLERANCE:
                self.success = True
                self.queries += i + 1
                raise StopError
        self.queries += len(scores)
        if self.queries >= self.case.budget:
            raise StopError

    def at(self, queries: int) -> float:
        """Distance of the nearest fooling point among the first so many."""
        return min((size for count, size in self.nearest if count <= queries), default=float("inf"))


Peer = Callable[[Meter, Tensor, Tensor, Case], None]
"""(model, sample [1, *shape], label [1], case): runs until it is done, or the meter ends it."""


def theirs(name: str, case: Case, peer: Peer, seed: int = 0) -> Outcome:
    """A public implementation, one sample after the other.

    Raises:
        ImportError, FileNotFoundError: it is not installed, or not in the folder of checkouts.
    """
    start = time.process_time()
    meters = []
    for number, sample in enumerate(case.samples):
        meter = Meter(case, sample).eval()
        torch.manual_seed(seed * 1000 + number)
        np.random.seed(seed * 1000 + number)
        with contextlib.suppress(StopError):
            peer(meter, meter.x[None], torch.tensor([sample.label]), case)
        meters.append(meter)
    seconds = (time.process_time() - start) / len(case.samples)
    success = np.array([m.success for m in meters])
    queries = np.where(success, [m.queries for m in meters], case.budget)
    distances = np.array([[m.at(mark) for m in meters] for mark in (*case.marks, case.budget)])
    return Outcome(name, queries, np.array([m.queries for m in meters]), success, distances, seconds)


def ours(attack: str, case: Case, parameters: Mapping[str, Any] | None = None, seed: int = 0) -> Outcome:
    """One of our attacks on all samples together; for each mark it runs once more, with a budget of so many."""
    threat = ThreatModel(case.norm, 1e9, minimal=True) if case.eps is None else ThreatModel(case.norm, case.eps)
    samples = {s.index: s for s in case.samples}
    rows = []
    for budget in (*case.marks, case.budget):
        made = make_attack(attack, {**(parameters or {}), "queries": budget})
        start = time.process_time()
        found = attacked(case.target, made, threat, samples, seed=seed)
        seconds = (time.process_time() - start) / len(samples)
        results = [found[s.index] for s in case.samples]
        rows.append([np.inf if r.distance is None else r.distance for r in results])
    success = np.array([r.success for r in results])
    queries = np.where(success, [r.queries for r in results], case.budget)
    told = ", ".join(f"{k} {v}" for k, v in (parameters or {}).items())
    spent = np.array([r.queries for r in results])
    return Outcome(f"{attack} ({told})" if told else attack, queries, spent, success, np.array(rows), seconds)
