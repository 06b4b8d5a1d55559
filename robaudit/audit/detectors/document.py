"""What an evaluation of detectors found: a versioned document of its own, which its reports are rendered from."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.defenses.document import Bare, Outcome
from robaudit.audit.result.document import Data, Detecting, PairedChange, Rate, Section, Threat
from robaudit.printable import json_text

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


class Evaluated(Section):
    """One detector."""

    detector: Detecting
    """What stood beside the file, with its threshold."""
    run: str
    """Digest that names the run of the audit with it."""
    folder: str
    """The run directory."""
    area: Area | None
    """Of plain examples, made without knowing of it; null where there are none."""
    roc: tuple[tuple[FiniteFloat, FiniteFloat], ...] = ()
    """(share of clean samples, share of plain examples) above each threshold."""
    caught: Rate
    """Samples whose plain examples it rejects, all of them."""
    rejected: Rate
    """Audited samples that it rejects as they are."""
    plain: PairedChange
    """Stands against the plain examples: answered right and accepted, and its examples are rejected. Paired with the
    model without it."""
    joint: PairedChange
    """Stands against these and all attacks of the audit with it, on model and detector at once."""
    false_security: PairedChange
    """From standing against the attacker who knows of it to standing against one who does not."""
    broken_by: dict[str, int] = {}
    """Samples that each attack of the audit with it broke first, in the order of the audit."""
    complete: bool
    """Whether all attacks ran to their end."""
    failed_checks: tuple[str, ...] = ()
    """Checks of the audit with it that failed: its figures cannot be relied on where there is one."""
    outcome: Outcome
    """What the intervals show: a joint gain above or below 0; else a false-security index above 0; else nothing."""


class DetectorEvaluation(Section):
    """Detectors beside one model, the largest gain against the joint attack first."""

    schema_version: Literal["1.0"] = "1.0"
    """Of this document, with the promises of results."""
    version: str
    """Of robaudit."""
    model: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    data: Data
    """The samples, the same with every detector."""
    metric: Literal["robust_accuracy", "stability"]
    """stability: without labels the answers of the model are the reference."""
    profile: str
    """Name of the profile."""
    threat_model: Threat
    """What the attacker may do."""
    seed: int
    """Of every audit."""
    command: str
    """That made it."""
    confidence: FiniteFloat
    """Of each interval, each for itself."""
    bare: Bare
    """The audit without a detector."""
    rows: tuple[Evaluated, ...]

    @property
    def exit_code(self) -> int:
        """0, or 3 where an audit is incomplete or cannot be relied on."""
        audits: tuple[Bare | Evaluated, ...] = (self.bare, *self.rows)
        return 0 if all(one.complete and not one.failed_checks for one in audits) else 3

    def to_json(self) -> str:
        """As JSON text, indented by 2, ended by a newline."""
        return json_text(self.model_dump(mode="json"))
