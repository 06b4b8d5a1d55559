"""Audits a model without and with each of several detectors, and says how good each is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robaudit import __version__
from robaudit.audit.config.places import shown_command
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.defenses.comparing import Told, audited, below, replay_of
from robaudit.audit.defenses.weighing import bare_row, changes
from robaudit.audit.detectors.document import Area, DetectorEvaluation, Evaluated
from robaudit.audit.detectors.scoring import Scored, ScoringRequest, score_examples
from robaudit.audit.process.persist import persistently
from robaudit.audit.result.document import Rate, Result
from robaudit.audit.run.asking import request_of
from robaudit.audit.run.limits import confinement_of
from robaudit.detectors.registry import parse_detector, words_of_detector
from robaudit.errors import AuditError, UsageError
from robaudit.stats.rates import CONFIDENCE
from robaudit.stats.rates import rate as rated
from robaudit.stats.roc import area, curve
from robaudit.target.files.sniff import model_format

__all__ = ["Evaluating", "evaluate_detectors", "evaluated", "ordered"]


@dataclass(frozen=True)
class Evaluating:
    """What is evaluated.

    Args:
        model: the file.
        given: settings as flags give them, without a detector.
        detectors: as settings name them.
        command: for the record.
    """

    model: Path
    given: Mapping[str, Any]
    detectors: tuple[str, ...]
    command: str = ""


def evaluate_detectors(asked: Evaluating, told: Told) -> DetectorEvaluation:
    """Audit a model without a detector, then with each, with the same seed and samples; a finished audit is not run
    again.

    Raises:
        UsageError: a request is refused.
        AuditInterrupted: an audit was stopped; what is finished is kept, and the same call goes on.
        AuditError: an audit failed before anything could be told.
    """
    words = _distinct(asked.detectors)
    if model_format(asked.model) == "endpoint":
        raise UsageError("detectors are evaluated beside a model file, and an endpoint is none")
    resolved = resolve_settings(asked.given, os.environ, asked.model)
    resolved = replace(resolved, settings=replace(resolved.settings, detector=None, baseline=None, output=()))
    base = None if resolved.settings.run_dir is None else Path(resolved.settings.run_dir)
    plain = request_of(asked.model, resolved, asked.command)
    bare, bare_folder = audited(plain, below(base, "bare"), told, "without a detector")
    results: list[tuple[Result, Path]] = []
    for place, detector in enumerate(words, 1):
        settings = replace(resolved.settings, detector=detector)
        request = request_of(asked.model, replace(resolved, settings=settings), asked.command)
        folder = below(base, f"{place}-{parse_detector(detector).id}")
        results.append(audited(request, folder, told, f"with {detector} ({place} of {len(words)})"))
    answers = persistently(
        score_examples,
        ScoringRequest(replay_of(plain, bare_folder), tuple(folder for _, folder in results)),
        confinement=confinement_of(plain),
        about=asked.model,
        told=told.said,
    )
    rows = [
        evaluated(bare, result, scored, str(folder)) for (result, folder), scored in zip(results, answers, strict=True)
    ]
    return DetectorEvaluation(
        version=__version__,
        model=str(asked.model),
        sha256=bare.target.sha256,
        data=bare.data,
        metric=bare.worst_case.metric,
        profile=bare.profile.name,
        threat_model=bare.threat_model,
        seed=bare.run.seed,
        command=shown_command(asked.command),
        confidence=CONFIDENCE,
        bare=bare_row(bare, str(bare_folder)),
        rows=ordered(rows),
    )


def _distinct(detectors: Sequence[str]) -> list[str]:
    """Detectors with all their parameters.

    Raises:
        UsageError: none is named, or one twice.
    """
    words = [words_of_detector(parse_detector(detector)) for detector in detectors]
    if not words:
        raise UsageError("no detector to evaluate; name each with --detector, such as --detector squeezing")
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise UsageError(f"the detector {twice[0]} is named twice")
    return words


def evaluated(bare: Result, beside: Result, scored: Scored, folder: str) -> Evaluated:
    """One detector.

    Args:
        bare: the audit without it.
        beside: the audit with it, on the same samples.
        scored: what it says of the examples of the first.
        folder: run directory of the second.

    Raises:
        AuditError: the two have no sample in common.
    """
    if beside.detector is None:
        raise AuditError("the audit with a detector tells of none")
    found = area(scored.clean, scored.adversarial)
    answered = [sample for sample in beside.samples if sample.counted and sample.clean_prediction is not None]
    change = changes(bare, beside, scored.passed, beside.detector.words)
    return Evaluated(
        detector=beside.detector,
        run=beside.run.id,
        folder=folder,
        area=None
        if found is None
        else Area(
            estimate=found.estimate,
            low=found.low,
            high=found.high,
            clean=found.negatives,
            adversarial=found.positives,
        ),
        roc=curve(scored.clean, scored.adversarial),
        caught=_rate(len(scored.shown) - len(scored.passed), len(scored.shown)),
        rejected=_rate(sum(sample.rejected for sample in answered), len(answered)),
        plain=change.plain,
        joint=change.adaptive,
        false_security=change.false_security,
        broken_by=change.broken_by,
        complete=beside.run.complete,
        failed_checks=change.failed_checks,
        outcome=change.outcome,
    )


def _rate(k: int, n: int) -> Rate:
    found = rated(k, n)
    return Rate(k=found.k, n=found.n, estimate=found.estimate, low=found.low, high=found.high, confidence=CONFIDENCE)


def ordered(rows: Iterable[Evaluated]) -> tuple[Evaluated, ...]:
    """The largest gain against the joint attack first; of equal ones that which catches most plain examples."""
    return tuple(sorted(rows, key=lambda row: (-(row.joint.difference or 0.0), -(row.caught.estimate or 0.0))))
