"""Shows the examples of an audit to the same file behind defenses, and times both; in a process of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.audit.replay.asked_file import AskedFile, find_model, recorded_meaning
from robaudit.audit.replay.evidence import Claim, evidence_of
from robaudit.audit.replay.replaying import judge_of
from robaudit.audit.replay.request import Answer, ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import RESULT
from robaudit.audit.stored.file import load_result
from robaudit.defenses.registry import fitted, parse_chain
from robaudit.errors import ChangedFileError, RobauditError, UsageError
from robaudit.files import held_to
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["AskedBehind", "BehindRequest", "ask_behind"]

TIMED = 20
"""Inputs on which answers are timed."""


@dataclass(frozen=True)
class BehindRequest:
    """What to ask.

    Args:
        replay: the audit without a defense, and its file.
        chains: defenses, as settings name them.
    """

    replay: ReplayRequest
    chains: tuple[str, ...]


@dataclass(frozen=True)
class AskedBehind:
    """What was answered behind one chain.

    Args:
        shown: indices of the samples whose examples were shown.
        fooled: of these, those of whom an example still fools, or is not answered.
        latency: median time of an answer over that without a defense; None where nothing was timed.
    """

    shown: frozenset[int] = frozenset()
    fooled: frozenset[int] = field(default_factory=frozenset)
    latency: float | None = None


def ask_behind(request: BehindRequest, given_up: GivenUp = NOTHING, watch: Watch = UNWATCHED) -> list[AskedBehind]:
    """What each chain makes of the examples of an audit without one; in the order of the chains.

    Raises:
        UsageError: a defense does not apply, or the file cannot be asked.
        AuditError: the evidence, or the audited file, is missing or not the one of the result.
    """
    folder, trust = request.replay.run, request.replay.trust_model
    result = load_result(folder / RESULT, request.replay.trusted)
    claims = [claim for claim in evidence_of(folder, result, kept=True) if not claim.nearest]
    asked = find_model(request.replay.model, folder, result)
    shape = claims[0].example.original.shape if claims else _shape(result)
    bare = recorded_meaning(result, shape)
    chains = [tuple(fitted(one, bare, trust=trust) for one in parse_chain(chain)) for chain in request.chains]
    names = {sample.index: sample.id for sample in result.samples}
    watch.call_samples(names.__getitem__)
    with held_to(asked.files), watch.about("its answers behind defenses were asked"):
        meanings = [bare, *(replace(bare, defenses=chain) for chain in chains)]
        once = replace(request, replay=replace(request.replay, once=True))
        times = _times(
            [_answer(once, result, asked, meaning, watch) for meaning in meanings],
            _timed(claims, shape, bare.precision),
        )
        answers = [_answer(request, result, asked, meaning, watch) for meaning in meanings[1:]]
        return [
            replace(_shown(claims, answer, given_up, watch), latency=None if math.isnan(t) else t)
            for answer, t in zip(answers, times, strict=True)
        ]


def _answer(request: BehindRequest, result: Result, asked: AskedFile, meaning: InputMeaning, watch: Watch) -> Answer:
    return judge_of(request.replay, result, Path(asked.path), meaning, same=asked.same, watch=watch)[0]


def _shape(result: Result) -> tuple[int, ...]:
    """Of one sample in u-space, where no example tells it."""
    spec = result.target.input
    sizes = tuple(int(size) for size in spec.shape[1:] if isinstance(size, int))
    if spec.layout == "NHWC":
        return (sizes[-1], *sizes[:-1])
    return (1, *sizes) if spec.channels is not None and len(sizes) == 2 else sizes


def _shown(claims: Sequence[Claim], answer: Answer, given_up: GivenUp, watch: Watch) -> AskedBehind:
    fooled = set()
    for claim in claims:
        example = claim.example
        if example.index in given_up.samples:
            fooled.add(example.index)
            continue
        with watch.about("an example was shown behind a defense", [example.index]):
            try:
                said = answer(example.adversarial)
            except (UsageError, ChangedFileError):
                raise
            except RobauditError:  # it does not answer
                fooled.add(example.index)
                continue
        if said.mostly_fools(example.label, example.target):
            fooled.add(example.index)
    return AskedBehind(frozenset(claim.example.index for claim in claims), frozenset(fooled))


def _timed(claims: Sequence[Claim], shape: tuple[int, ...], precision: str) -> list[NDArray[Any]]:
    """Inputs to time answers on: originals, and where there are too few, uniform noise."""
    points = [claim.example.original for claim in claims[:TIMED]]
    draw = np.random.default_rng(0)
    return points + [draw.random(shape).astype(precision) for _ in range(TIMED - len(points))]


def _times(answers: Sequence[Answer], points: Sequence[NDArray[Any]]) -> list[float]:
    """Median time of each answer but the first, over the first's; asked in turn, so that all share a machine's load."""
    taken: list[list[float]] = [[] for _ in answers]
    for place, point in enumerate([points[0], *points]):
        for answer, own in zip(answers, taken, strict=True):
            begun = time.perf_counter()
            try:
                answer(point)
            except (UsageError, ChangedFileError):
                raise
            except RobauditError:
                continue
            if place:  # the first call of each warms it up
                own.append(time.perf_counter() - begun)
    medians = [float(np.median(own)) if own else math.nan for own in taken]
    return [median / medians[0] for median in medians[1:]]
