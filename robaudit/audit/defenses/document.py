"""What a comparison of defenses found: a versioned document of its own, which every report of it is rendered from."""

# ruff: noqa: RUF012 (pydantic copies defaults)
from __future__ import annotations

from typing import Any, Literal

from pydantic import FiniteFloat

from robaudit.audit.result.document import Data, Defended, PairedChange, Rate, Section, Threat
from robaudit.audit.result.sections.base import Number
from robaudit.printable import json_text

__all__ = ["Bare", "DefenseComparison", "Outcome", "TrainedPurifier", "Weighed", "comparison_schema"]

Outcome = Literal["adds robustness", "costs robustness", "false security", "no gain found"]


class Bare(Section):
    """The audit of the model without a defense."""

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


class Weighed(Section):
    """One defense, or one chain. All changes are paired, sample by sample, with the model without it."""

    defense: Defended
    """What stood in front of the file."""
    run: str
    """Digest that names the run of the audit behind it."""
    folder: str
    """The run directory."""
    clean: PairedChange
    """Answered as the reference says, without an attack; of stability mode, as the model without it answers."""
    plain: PairedChange
    """Stands against the examples that were made on the model without it, each shown to the model behind it: what the
    defense seems to buy."""
    adaptive: PairedChange
    """Stands against these and all attacks of the audit behind it, by an attacker who knows it: what it buys."""
    false_security: PairedChange
    """Plain less adaptive: from standing against an attacker who knows of it, to standing against one who does not. The
    difference is the false-security index: 0, where nothing is feigned."""
    transferred: tuple[int, int]
    """Examples of the model without it that fool the model behind it too, and those that were shown."""
    broken_by: dict[str, int] = {}
    """Samples that each attack of the audit behind it broke first, in the order of the audit."""
    latency: Number = None
    """Median time of an answer to one input, over that without it, on the same inputs in turn; null where not
    measured."""
    complete: bool
    """Whether all attacks behind it ran to their end: else its adaptive gain may be smaller still."""
    failed_checks: tuple[str, ...] = ()
    """Checks of the audit behind it that failed: then its adaptive gain cannot be relied on."""
    outcome: Outcome
    """What the intervals show: an adaptive gain above or below 0; else a false-security index above 0; else nothing."""


class TrainedPurifier(Section):
    """A purifier that was made of the data. The counts are of the held-out samples, which it was not made of, that the
    model answers as it answers them clean without it."""

    recipe: str
    """Id of how it was made."""
    defense: str
    """Id of the defense that takes its file."""
    sha256: str
    """Digest of its file."""
    model_sha256: str
    """Digest of the model that it was made for."""
    norm: str
    """Of the perturbations that it learned to remove."""
    eps: FiniteFloat
    """Their radius, as a fraction of the domain's width."""
    seed: int
    """Of all random numbers."""
    guided: bool
    """Whether the model's gradient was there; else perturbations were random."""
    trained_on: int
    """Samples that it was made of; none of those that an audit of the same settings draws."""
    held_out: int
    """Samples that it was measured on."""
    audited: int
    """Samples that an audit of the same settings draws."""
    rounds: int
    """Rounds of the training carried out."""
    planned: int
    """Rounds asked for."""
    complete: bool
    """False: the time budget ended the training."""
    clean_behind: int
    """Clean, behind it."""
    disturbed_without: int
    """Under perturbations of one step and radii up to eps, without it."""
    disturbed_behind: int
    """Under the same ones, behind it."""


class DefenseComparison(Section):
    """Defenses before one model, the largest adaptive gain first."""

    schema_version: Literal["1.0"] = "1.0"
    """Of this document, with the promises of results."""
    version: str
    """Of robaudit."""
    model: str
    """Path as given."""
    sha256: str
    """Digest of the file."""
    data: Data
    """The samples, the same behind every defense."""
    metric: Literal["robust_accuracy", "stability"]
    """stability: without labels the answers of the model without a defense are the reference."""
    profile: str
    """Name of the profile."""
    threat_model: Threat
    """What the attacker may do."""
    seed: int
    """Of every audit."""
    command: str
    """That made it."""
    added: tuple[str, ...] = ()
    """Attacks behind each defense beside those of the profile: from the model without it, and with labels alone."""
    confidence: FiniteFloat
    """Of each interval, each for itself."""
    bare: Bare
    rows: tuple[Weighed, ...]

    @property
    def exit_code(self) -> int:
        """0, or 3 where an audit is incomplete or cannot be relied on."""
        audits: tuple[Bare | Weighed, ...] = (self.bare, *self.rows)
        return 0 if all(one.complete and not one.failed_checks for one in audits) else 3

    def to_json(self) -> str:
        """As JSON text, indented by 2, ended by a newline."""
        return json_text(self.model_dump(mode="json"))


def comparison_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what :meth:`DefenseComparison.to_json` writes."""
    schema = DefenseComparison.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit defenses"}
