"""Audits a model without and with each of several detectors, and says how good each is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from robaudit.audit.detectors.document import Area, DetectorEvaluation, Evaluated
from robaudit.audit.detectors.scoring import Scored, ScoringRequest, score_examples
from robaudit.audit.process.persist import persistently
from robaudit.audit.result.document import Rate, Result
from robaudit.audit.run.limits import confinement_of
from robaudit.audit.several.changes import changes
from robaudit.audit.several.running import Asked, SideBySide, Told, audited, distinct, replay_of
from robaudit.detectors.registry import parse_detector, words_of_detector
from robaudit.errors import AuditError
from robaudit.stats.rates import CONFIDENCE
from robaudit.stats.rates import rate as rated
from robaudit.stats.roc import area, curve

__all__ = ["evaluate_detectors", "evaluated", "ordered"]

NONE = "no detector to evaluate; name each with --detector, such as --detector squeezing"


def evaluate_detectors(asked: Asked, told: Told) -> DetectorEvaluation:
    """Audit a model without a detector, then with each, with the same seed and samples; a finished audit is not run
    again.

    Raises:
        UsageError: a request is refused.
        AuditInterrupted: an audit was stopped; what is finished is kept, and the same call goes on.
        AuditError: an audit failed before anything could be told.
    """
    words = distinct([words_of_detector(parse_detector(detector)) for detector in asked.words], "detector", NONE)
    side = SideBySide.of(asked, "detector", "detectors are evaluated beside a model file, and an endpoint is none")
    request = side.request()
    bare, bare_folder = audited(request, side.below("bare"), told, "without a detector")
    results: list[tuple[Result, Path]] = []
    for place, detector in enumerate(words, 1):
        folder = side.below(f"{place}-{parse_detector(detector).id}")
        what = f"with {detector} ({place} of {len(words)})"
        results.append(audited(side.request(detector=detector), folder, told, what))
    answers = persistently(
        score_examples,
        ScoringRequest(replay_of(request, bare_folder), tuple(folder for _, folder in results)),
        confinement=confinement_of(request),
        about=asked.model,
        told=told.said,
    )
    rows = [
        evaluated(bare, result, scored, str(folder)) for (result, folder), scored in zip(results, answers, strict=True)
    ]
    return DetectorEvaluation(**side.shared(bare, bare_folder), rows=ordered(rows))


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
