"""Records of a session: what it loaded, in the sections of the result, and when it began and ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from robaudit.audit.journal.records.base import Content, Count, Pointed, Record
from robaudit.audit.result.sections.run import Environment
from robaudit.audit.result.sections.target import Data, Defended, Detecting, Target
from robaudit.audit.result.sections.threat import PerturbationSet

__all__ = [
    "BatchChosen",
    "BudgetSpent",
    "ChosenSets",
    "DataFacts",
    "DetectorSet",
    "EnvironmentFacts",
    "InputsSent",
    "MeaningFound",
    "MeaningTried",
    "Remark",
    "SessionBegun",
    "SessionEnded",
    "TargetFacts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts(Record):
    """What the result tells of the model, and of a defense in front of it; paths as the user gave them."""

    kind: Literal["target"] = "target"
    section: Target
    defense: Defended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSet(Pointed):
    """The detector beside the model, fitted, with its threshold; the point is what it was fitted to."""

    kind: Literal["detector"] = "detector"
    section: Detecting


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFacts(Record):
    """What the result tells of the machine."""

    kind: Literal["environment"] = "environment"
    section: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts(Record):
    """What the result tells of the data; which samples were drawn; of each the ``copies`` that fill up the draw."""

    kind: Literal["data"] = "data"
    section: Data
    ids: tuple[str, ...]
    indices: tuple[Count, ...]
    copies: Mapping[str, Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSets(Record):
    """The perturbation sets that the user chose."""

    kind: Literal["sets"] = "sets"
    sets: tuple[PerturbationSet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeaningTried(Record):
    """A candidate of a search for the input's meaning, right on so many samples ``of`` those that it was tried on."""

    name: str
    right: Count
    of: Count
    status: Literal["not accepted", "taken", "left", "beaten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeaningFound(Record):
    """What a search for the input's meaning found.

    ``changes`` of the input spec, with their ``provenance``. ``samples`` were asked ``of`` so many.
    """

    kind: Literal["meaning"] = "meaning"
    model: str
    taken: str | None
    changes: Content
    provenance: Mapping[str, str]
    sentence: str
    samples: Count
    of: Count
    evaluations: Count
    alpha: float
    candidates: tuple[MeaningTried, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBegun(Record):
    """A session had loaded the model."""

    kind: Literal["session"] = "session"
    started: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Record):
    """A session ended; as the supervisor knows when it began."""

    kind: Literal["spent"] = "spent"
    began: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(Record):
    """The time of a session was over."""

    kind: Literal["budget"] = "budget"
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsSent(Record):
    """What was sent to an endpoint over all sessions so far; ``cost`` at most, where it has a price."""

    kind: Literal["sent"] = "sent"
    to: str
    queries: Count
    requests: Count
    octets: Count
    cost: float | None
    currency: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChosen(Record):
    """The batch size of a session."""

    kind: Literal["batch"] = "batch"
    size: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark(Record):
    """A sentence for the result."""

    kind: Literal["note"] = "note"
    message: str
