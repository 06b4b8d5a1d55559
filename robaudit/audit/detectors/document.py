"""What an evaluation of detectors found: a versioned document of its own, which its reports are rendered from."""

from __future__ import annotations

from pydantic import FiniteFloat

from robaudit.audit.result.document import Detecting, PairedChange, Rate, Section
from robaudit.audit.several.document import Row, SeveralAudits

__all__ = ["Area", "DetectorEvaluation", "Evaluated"]


class Area(Section):
    """The area under the ROC curve: the chance that an adversarial example is more suspicious than a clean sample."""

    estimate: FiniteFloat
    low: FiniteFloat
    """Newcombe's interval (2006, method 5)."""
    high: FiniteFloat
    clean: int
    """Samples as they are: those that the plain examples were made of."""
    adversarial: int
    """Plain examples, one of each sample."""


class Evaluated(Row):
    """One detector beside the file. Against the plain examples a sample stands that is answered right and accepted, and
    whose examples are rejected."""

    detector: Detecting
    """What stood beside the file, with its threshold."""
    area: Area | None
    """Of plain examples, made without knowing of it; null where there are none."""
    roc: tuple[tuple[FiniteFloat, FiniteFloat], ...] = ()
    """(share of clean samples, share of plain examples) above each threshold."""
    caught: Rate
    """Samples whose plain examples it rejects, all of them."""
    rejected: Rate
    """Audited samples that it rejects as they are."""
    joint: PairedChange
    """Stands against the plain examples and all attacks of the audit with it, on model and detector at once."""


class DetectorEvaluation(SeveralAudits):
    """Detectors beside one model, the largest gain against the joint attack first."""

    rows: tuple[Evaluated, ...]
