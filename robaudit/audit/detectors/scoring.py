"""Asks detectors, as audits have fitted them, about the examples of an audit without one; in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robaudit.audit.process.persist import NOTHING, GivenUp
from robaudit.audit.replay.asked_file import find_model, recorded_meaning
from robaudit.audit.replay.detecting import recorded_guard
from robaudit.audit.replay.evidence import Claim, evidence_of
from robaudit.audit.replay.replaying import judge_of
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.run.rundir import RESULT
from robaudit.audit.stored.file import load_result
from robaudit.detectors.guard import Guard
from robaudit.files import held_to
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Scored", "ScoringRequest", "score_examples"]


@dataclass(frozen=True)
class ScoringRequest:
    """What to ask.

    Args:
        replay: the audit without a detector, and its file.
        folders: run directories of the audits with each.
    """

    replay: ReplayRequest
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Scored:
    """What one detector says of the plain examples.

    Args:
        clean, adversarial: suspicion of samples as they are, and of the first example of each.
        shown: indices of the samples with examples; ``passed``: of those with an example that it accepts.
    """

    clean: tuple[float, ...] = ()
    adversarial: tuple[float, ...] = ()
    shown: frozenset[int] = frozenset()
    passed: frozenset[int] = frozenset()


def score_examples(request: ScoringRequest, given_up: GivenUp = NOTHING, watch: Watch = UNWATCHED) -> list[Scored]:
    """What each detector says of the examples, in the order of the folders.

    Raises:
        UsageError: the file cannot be asked.
        AuditError: the evidence, or the audited file, is missing or not the one of the result.
    """
    replay = request.replay
    result = load_result(replay.run / RESULT, replay.trusted)
    claims = [claim for claim in evidence_of(replay.run, result, kept=True) if not claim.nearest]
    claims = [claim for claim in claims if claim.example.index not in given_up.samples]
    if not claims:
        return [Scored() for _ in request.folders]
    asked = find_model(replay.model, replay.run, result)
    meaning = recorded_meaning(result, claims[0].example.original.shape, trust=replay.trust_model)
    names = {sample.index: sample.id for sample in result.samples}
    watch.call_samples(names.__getitem__)
    found = []
    with held_to(asked.files), watch.about("detectors were asked about its examples"):
        answer, _ = judge_of(replay, result, asked.path, meaning, same=asked.same, watch=watch)
        for folder in request.folders:
            other = load_result(folder / RESULT, replay.trusted)
            guard = recorded_guard(replace(replay, run=folder), other, asked.path, meaning, answer)
            found.append(_scored(guard, claims, watch))
    return found


def _scored(guard: Guard, claims: Sequence[Claim], watch: Watch) -> Scored:
    clean, adversarial, passed = dict[int, float](), dict[int, float](), set[int]()
    for claim in claims:
        example = claim.example
        with watch.about("a detector was asked about an example", [example.index]):
            before, after = guard.suspicion(np.stack([example.original, example.adversarial]), alone=True)
        clean.setdefault(example.index, float(before))
        adversarial.setdefault(example.index, float(after))
        if after <= guard.threshold:
            passed.add(example.index)
    return Scored(tuple(clean.values()), tuple(adversarial.values()), frozenset(clean), frozenset(passed))
