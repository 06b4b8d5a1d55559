"""How good detectors are, in words and as a table."""

from __future__ import annotations

from robaudit.audit.detectors.document import DetectorEvaluation
from robaudit.plural import counted
from robaudit.report.several import SideBySide, broken_words, outcome_words
from robaudit.report.words import plain, short_rate

__all__ = ["evaluated_page"]

HEADS = (
    "detector",
    "AUC",
    "plain examples caught",
    "clean rejected",
    "stands, plain examples",
    "stands, joint attack",
    "outcome",
)


def evaluated_page(found: DetectorEvaluation) -> SideBySide:
    """The evaluation, to be shown as text or HTML."""
    return SideBySide(
        found, "evaluation of detectors", "How good each detector is", "a detector", HEADS, _rows(found), _notes(found)
    )


def _rows(found: DetectorEvaluation) -> list[list[str]]:
    """A row each detector, under ``HEADS``."""
    return [
        [
            plain(row.detector.words, 200),
            "-" if row.area is None else f"{row.area.estimate:.3f} [{row.area.low:.3f}, {row.area.high:.3f}]",
            short_rate(row.caught) if row.caught.n else "-",
            short_rate(row.rejected),
            short_rate(row.plain.new),
            short_rate(row.joint.new),
            outcome_words(row),
        ]
        for row in found.rows
    ]


def _notes(found: DetectorEvaluation) -> list[str]:
    """How the table is to be read, and what is to be said of single rows."""
    allowed = found.rows[0].detector.false_alarms if found.rows else 0.05
    notes = [
        f"Each threshold was set at {allowed:.1%} false alarms, on clean samples apart from the audited ones. Exact "
        f"intervals at {found.confidence:.0%}, each for itself; of the AUC Newcombe's (2006, method 5).",
        "Plain examples: those of the audit without a detector, made without knowing of one. AUC: the chance that one "
        "is more suspicious than a clean sample.",
        "What stands is answered right, accepted as it is, and broken by nothing: against plain examples alone, and "
        "against the joint attack on model and detector, which succeeds where the detector accepts and the model is "
        "wrong.",
    ]
    if found.metric == "stability":
        notes.append("Without labels the answers of the model without a detector are the reference.")
    if found.bare.failed_checks:
        notes.append(f"Without a detector checks failed ({', '.join(found.bare.failed_checks)}): rely on no figure.")
    for row in found.rows:
        words, detector = plain(row.detector.words, 200), row.detector
        fit = f"fitted on {detector.fitted_on}, " if detector.fitted_on else ""
        fell = broken_words(row, "with it")
        slope = "" if detector.differentiable else "; it has no gradient, so that stronger joint attacks are likely"
        notes.append(f"{words}: {fit}threshold set on {counted(detector.calibrated_on, 'clean sample')}{fell}{slope}.")
        if row.failed_checks:
            notes.append(f"{words}: checks failed ({', '.join(row.failed_checks)}), so that it is not to be relied on.")
        if not row.complete:
            notes.append(f"{words}: not all attacks ran to their end, so that less may stand.")
    return notes
