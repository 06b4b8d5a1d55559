"""What all documents say that put several audits of one model side by side."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from robaudit.audit.result.document import Data, PairedChange, Rate, Section, Threat
from robaudit.printable import json_text

__all__ = ["Bare", "Outcome", "Row", "SeveralAudits"]

Outcome = Literal["adds robustness", "costs robustness", "false security", "no gain found"]


class Bare(Section):
    """The audit of the model without any of them."""

    run: str
    """Digest that names the run."""
    folder: str
    """The run directory."""
    clean: Rate | None
    """Share of the samples that are answered correctly; in stability mode null."""
    robust: Rate
    """Share that stands against the attacks of the profile, as observed."""
    complete: bool
    """Whether all its attacks ran to their end."""
    failed_checks: tuple[str, ...] = ()
    """Its checks that failed: its figures cannot be relied on where there is one."""


class Row(Section):
    """What one of them changes. All changes are paired, sample by sample, with the model without it."""

    run: str
    """Digest that names the run of the audit with it."""
    folder: str
    """The run directory."""
    plain: PairedChange
    """Stands against the examples that were made on the model without it, each shown to the model with it: what it
    seems to buy."""
    false_security: PairedChange
    """From standing against an attacker who knows of it to standing against one who does not. The difference is the
    false-security index: 0, where nothing is feigned."""
    broken_by: dict[str, int] = {}
    """Samples that each attack of the audit with it broke first, in the order of the audit."""
    complete: bool
    """Whether all attacks ran to their end: else less may stand."""
    failed_checks: tuple[str, ...] = ()
    """Checks of the audit with it that failed: its figures cannot be relied on where there is one."""
    outcome: Outcome
    """What the intervals show: a gain against the attacker who knows it above or below 0; else a false-security index
    above 0; else nothing."""


class SeveralAudits(Section):
    """Audits of one model, without something and with each of several."""

    schema_version: Literal["1.0"] = "1.0"
    """Of this document, with the promises of results."""
    version: str
    """Of robaudit."""
    model: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    data: Data
    """The samples, the same in every audit."""
    metric: Literal["robust_accuracy", "stability"]
    """stability: without labels the answers of the bare model are the reference."""
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
    """The audit without any of them."""
    rows: tuple[Row, ...]
    """One for each, the best first."""

    @property
    def exit_code(self) -> int:
        """0, or 3 where an audit is incomplete or cannot be relied on."""
        audits: tuple[Bare | Row, ...] = (self.bare, *self.rows)
        return 0 if all(one.complete and not one.failed_checks for one in audits) else 3

    def to_json(self) -> str:
        """As JSON text, indented by 2, ended by a newline."""
        return json_text(self.model_dump(mode="json"))
