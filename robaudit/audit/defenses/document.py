"""What a comparison of defenses found, and what a purifier was made of: versioned documents of their own."""

from __future__ import annotations

from typing import Any

from pydantic import FiniteFloat

from robaudit.audit.result.document import Defended, PairedChange, Section
from robaudit.audit.result.sections.base import Number
from robaudit.audit.several.document import Row, SeveralAudits

__all__ = ["DefenseComparison", "TrainedPurifier", "Weighed", "comparison_schema"]


class Weighed(Row):
    """One defense, or one chain, in front of the file."""

    defense: Defended
    """What stood in front of the file."""
    clean: PairedChange
    """Answered as the reference says, without an attack; of stability mode, as the model without it answers."""
    adaptive: PairedChange
    """Stands against the plain examples and all attacks of the audit behind it, by an attacker who knows it: what it
    buys. The false-security index is the plain gain less this one."""
    transferred: tuple[int, int]
    """Examples of the model without it that fool the model behind it too, and those that were shown."""
    latency: Number = None
    """Median time of an answer to one input, over that without it, on the same inputs in turn; null where not
    measured."""


class DefenseComparison(SeveralAudits):
    """Defenses before one model, the largest adaptive gain first."""

    added: tuple[str, ...] = ()
    """Attacks behind each defense beside those of the profile: from the model without it, and with labels alone."""
    rows: tuple[Weighed, ...]


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


def comparison_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a comparison's JSON."""
    schema = DefenseComparison.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "robaudit defenses"}
