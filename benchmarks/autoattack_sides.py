"""The two sides of autoattack.py: a profile's attacks, and the authors' code."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from common import Counter, attacked, traits
from torch import Tensor, nn
from torch.nn import functional as F

from robaudit.attacks.base import StartingPool
from robaudit.audit.config.profile import Profile, ThreatSpec
from robaudit.audit.plan.attacks import Planned, plan_attacks, threat_model
from robaudit.audit.session.pilot import SHARE
from robaudit.checks.base import leads
from robaudit.engine.units import Sample
from robaudit.target.target import Target

Data = tuple[Target, Tensor, Tensor]
NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}
"""Norms of the authors' code; it has no L0."""


@dataclass(frozen=True)
class Case:
    """A model with its images, and a threat model."""

    data: Callable[[], Data]
    norm: str
    eps: str

    @property
    def threat(self) -> ThreatSpec:
        return ThreatSpec.model_validate({"norm": self.norm, "eps": self.eps})


@dataclass(frozen=True)
class Outcome:
    """What one side leaves, and what that takes."""

    left: set[int]
    evaluations: int
    seconds: float
    processor: float


def run_profile(
    profile: Profile, data: Data, samples: dict[int, Sample], *, batch: int, seed: int = 0, verbose: bool = False
) -> Outcome:
    """Every attack of a profile, in its threat model, on what still stands."""
    target, x, y = data
    plan = plan_attacks(profile, traits(target))
    counter = Counter(target)
    left, start, processor = dict(samples), time.perf_counter(), time.process_time()
    broke = set()
    for planned in plan:
        vain = planned.if_broke is not None and planned.if_broke not in broke
        if planned.status != "ready" or not left or vain:
            continue

        def fell(some: dict[int, Sample], planned: Planned = planned) -> set[int]:
            results = attacked(
                target,
                planned.attack,
                threat_model(profile),
                some,
                batch=batch,
                seed=seed,
                pool=StartingPool(x[:24], y[:24]),
                model=counter,
                how=planned.how,
                key=planned.key,
            )
            return {index for index in some if results[index].success}

        first = _nearest(left, planned.pilot)
        fallen = fell(first)
        if len(first) == len(left) or len(fallen) < SHARE * len(first):
            others = {}
        else:
            others = {index: sample for index, sample in left.items() if index not in first}
        fallen |= fell(others) if others else set()
        left = {index: sample for index, sample in left.items() if index not in fallen}
        broke |= {planned.key} if fallen else set()
        if verbose:
            print(
                f"  {profile.name} {planned.key}: {len(left)} left, {counter.equivalents:,} evaluations, "
                f"{time.perf_counter() - start:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    seconds = time.perf_counter() - start
    return Outcome(set(left), counter.equivalents, seconds, time.process_time() - processor)


def _nearest(left: dict[int, Sample], pilot: int | None) -> dict[int, Sample]:
    """Those that an attack with a pilot begins with, as an audit chooses them."""
    if pilot is None:
        return left

    def key(index: int) -> tuple[float, str, int]:
        sample = left[index]
        return -float(leads(sample.clean[None], sample.label)[0]), sample.digest, index

    return {index: left[index] for index in sorted(left, key=key)[:pilot]}


class Squared(nn.Module):
    """Rows of a table as the authors' Square Attack takes them: images [N, 1, S, S], filled up with zeros."""

    def __init__(self, model: nn.Module, features: int) -> None:
        super().__init__()
        self.model, self.features = model, features
        self.side = max(5, math.ceil(math.sqrt(features)))  # below five its L2 start divides by zero

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.rows(images))

    def rows(self, images: Tensor) -> Tensor:
        """[N, features] of [N, 1, S, S]."""
        return images.flatten(1)[:, : self.features]

    def images(self, rows: Tensor) -> Tensor:
        """[N, 1, S, S] of [N, features]."""
        return F.pad(rows, (0, self.side**2 - self.features)).view(-1, 1, self.side, self.side)


def run_authors(case: Case, data: Data, samples: dict[int, Sample], version: str, seed: int = 0) -> Outcome:
    """The authors' code on the inputs that are answered correctly.

    Its targeted losses need four classes: below that apgd-ce, fab (untargeted) and square are run, with the standard
    version's parameters. With fewer than ten classes all others are targets.
    """
    from autoattack import AutoAttack

    target, x, y = data
    kept = torch.tensor(sorted(samples))
    counter = Counter(target)
    table = Squared(counter, x.shape[1]) if x.dim() == 2 else None
    attack = AutoAttack(
        table or counter,
        norm=NAMES[case.norm],
        eps=case.threat.radius,
        version=version,
        seed=seed,
        device="cpu",
        verbose=False,
    )
    _adapt(attack, target.num_classes)
    start, processor = time.perf_counter(), time.process_time()
    origin = table.images(x[kept]) if table else x[kept]
    adversarial = attack.run_standard_evaluation(origin, y[kept], bs=100)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    standing = target.scores(table.rows(adversarial) if table else adversarial).argmax(1) == y[kept]
    return Outcome(set(kept[standing].tolist()), counter.equivalents, seconds, processor)


def _adapt(attack: Any, classes: int) -> None:
    """Take as many targets as there are, and below four classes the attacks that need none."""
    for part in (attack.apgd_targeted, attack.fab):
        part.n_target_classes = min(part.n_target_classes, classes - 1)
    if classes < 4:
        attack.attacks_to_run = ["apgd-ce", "fab", "square"]
