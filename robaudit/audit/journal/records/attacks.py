"""Records of attacks: the plan, what became of each, their fits, and the models that they need beside the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.records.base import Content, Count, Outcome, Pointed, Record
from robaudit.audit.result.sections.base import Access

__all__ = [
    "AttackEnded",
    "AttackPlan",
    "AuxiliaryModel",
    "CertifierEnded",
    "FitRound",
    "Phase",
    "PlannedEntry",
    "Status",
    "SurrogateKnown",
]

Phase = Literal["cascade", "fitted", "curve", "bisection", "secrecy", "matrix"]
"""When an attack runs: in the cascade, there fitted beforehand; after it, for smallest distances, or to halve them; in
a cascade of its access alone, for the price of secrecy; or alone, for the matrix of surrogates and attacks."""
Status = Literal["ready", "skipped", "unavailable", "failed"]
"""Of an attack before it runs; ``skipped``: it does not apply, ``failed``: in an earlier session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEntry(Record):
    """An attack of the plan, as a report tells of it; ``budget``: most queries for a sample, None: none, or unknown."""

    id: str
    name: str
    access: Access
    status: Status
    reason: str | None
    parameters: Content
    norm: str
    phase: Phase
    budget: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackPlan(Record):
    """All attacks, before they run."""

    kind: Literal["plan"] = "plan"
    attacks: tuple[PlannedEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackEnded(Record):
    """What became of an attack."""

    kind: Literal["attack"] = "attack"
    id: str
    status: Outcome
    reason: str | None
    seconds: float
    cause: Cause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRound(Pointed):
    """A round of an attack's fit; ``point`` is the artefact after it, ``of`` the digest of what it is fitted on."""

    kind: Literal["fit"] = "fit"
    attack: str
    round: Count
    rounds: Count
    samples: Count
    of: str
    forwards: Count
    backwards: Count
    queries: Count
    seconds: float
    family: Literal["universal", "patch", "spatial", "per sample", "surrogate"]
    arrays: Mapping[str, tuple[Count, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryModel(Record):
    """Whether a model beside the one under audit can be used; the newest of each key counts.

    ``limits``: where it ended a process, those that it had, and the ``attack`` that ran.
    """

    kind: Literal["auxiliary"] = "auxiliary"
    key: str
    name: str
    problem: str | None
    limits: tuple[float | str | None, ...] | None = None
    attack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateKnown(Record):
    """A surrogate: a file that was loaded, or one that the audit made; the newest of each name counts.

    ``agreed`` of ``compared`` samples, ``on`` held-out or audited ones, have the target's class.
    """

    kind: Literal["surrogate"] = "surrogate"
    name: str
    origin: Literal["file", "made"]
    status: Literal["used", "not needed", "failed"]
    reason: str | None = None
    file: str | None = None
    recipe: str | None = None
    parameters: Content
    sha256: str | None = None
    agreed: Count
    compared: Count
    on: Literal["held-out", "audited"] | None = None
    trained_on: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifierEnded(Record):
    """What became of a certifier."""

    kind: Literal["certifier"] = "certifier"
    id: str
    status: Literal["done", "partial", "skipped", "failed"]
    reason: str | None
