"""Records of what an audit came to: checks, looks, the evidence, the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.records.base import Content, Count, Outcome, Record
from robaudit.audit.result.sections.findings import Evidence
from robaudit.audit.result.sections.gates import EarlierTests
from robaudit.audit.result.sections.masking import HiddenAt
from robaudit.audit.result.sections.sequential import LookGate

__all__ = [
    "CheckEnded",
    "Evaluations",
    "EvidenceKept",
    "LookTaken",
    "MaskingFound",
    "OutcomeAtLook",
    "PassedOver",
    "PriorTests",
    "ResultWritten",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations(Record):
    """What was asked of the model for single inputs; ``judged`` by the judge."""

    forwards: Count = 0
    backwards: Count = 0
    queries: Count = 0
    judged: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEnded(Record):
    """What a check measured, or why it could not, and what it cost.

    ``unanswered``: the model hung or crashed in it; of a hang the seconds that a forward call might take (``limit``).
    """

    kind: Literal["check"] = "check"
    id: str
    seconds: float
    measured: Content | None = None
    failed: str | None = None
    cost: Evaluations = Evaluations()
    unanswered: bool = False
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingFound(Record):
    """Checks told that gradients are masked, and where; ``stood``: samples that stood before a reaction."""

    kind: Literal["masking"] = "masking"
    signs: tuple[str, ...]
    hidden: tuple[HiddenAt, ...]
    stood: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver(Record):
    """What was passed over in drawing, as copies of inputs drawn before; ``told`` in sentences."""

    repeats: Count = 0
    contradictions: Count = 0
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeAtLook(Record):
    """What became of an attack on the samples that a look added."""

    status: Outcome
    reason: str | None
    cause: Cause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTaken(Record):
    """A look of a sequential audit; ``indices``: the samples that it added."""

    kind: Literal["look"] = "look"
    number: Annotated[int, Field(ge=1)]
    samples: Count
    share: float
    indices: tuple[Count, ...]
    passed: PassedOver
    attacks: Mapping[str, OutcomeAtLook]
    gates: tuple[LookGate, ...]
    stopped: Literal["decided", "exhausted"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKept(Record):
    """The archive of adversarial examples, with the attacks whose artefacts are in it."""

    kind: Literal["evidence"] = "evidence"
    section: Evidence
    artefacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorTests(Record):
    """The tests that were there before this audit, and of what."""

    kind: Literal["tests"] = "tests"
    of: str
    before: tuple[EarlierTests, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWritten(Record):
    """A result file was written, with this SHA-256."""

    kind: Literal["result"] = "result"
    sha256: str
