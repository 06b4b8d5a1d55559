"""All kinds of records, as bytes and back. A new kind goes into the file of its subject, and into the list here."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from robaudit.audit.journal.records.attacks import (
    AttackEnded,
    AttackPlan,
    AuxiliaryModel,
    CertifierEnded,
    FitRound,
    SurrogateKnown,
)
from robaudit.audit.journal.records.base import Record
from robaudit.audit.journal.records.findings import (
    CheckEnded,
    EvidenceKept,
    LookTaken,
    MaskingFound,
    PriorTests,
    ResultWritten,
)
from robaudit.audit.journal.records.samples import CertifiedSample, CleanSample, LostSample, Retry
from robaudit.audit.journal.records.session import (
    BatchChosen,
    BudgetSpent,
    ChosenSets,
    DataFacts,
    DetectorSet,
    EnvironmentFacts,
    InputsSent,
    MeaningFound,
    Remark,
    SessionBegun,
    SessionEnded,
    TargetFacts,
)
from robaudit.audit.journal.records.units import CheckUnit, FinishedUnit

__all__ = ["VERSION", "AnyPointed", "AnyRecord", "Header", "R", "decoded", "encoded"]

VERSION = 4
"""Of what the records hold; a journal with another one is refused. Version 1 did not say so."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""What stands for bytes of a file's name that are no UTF-8, and JSON cannot hold."""

_OfSessions: TypeAlias = (
    TargetFacts
    | DetectorSet
    | EnvironmentFacts
    | DataFacts
    | ChosenSets
    | MeaningFound
    | SessionBegun
    | SessionEnded
    | BudgetSpent
    | BatchChosen
    | InputsSent
    | Remark
)
_OfAttacks: TypeAlias = AttackPlan | AttackEnded | AuxiliaryModel | CertifierEnded | FitRound | SurrogateKnown
_OfSamples: TypeAlias = FinishedUnit | CheckUnit | CleanSample | LostSample | Retry | CertifiedSample
_OfFindings: TypeAlias = CheckEnded | LookTaken | EvidenceKept | MaskingFound | PriorTests | ResultWritten

AnyRecord: TypeAlias = _OfSessions | _OfAttacks | _OfSamples | _OfFindings
AnyPointed: TypeAlias = FinishedUnit | CheckUnit | CleanSample | FitRound | DetectorSet
"""Those that may have a point beside them."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header(Record):
    """The first line of a journal: the version of its records."""

    kind: Literal["journal"] = "journal"
    version: int


ADAPTER: TypeAdapter[AnyRecord | Header] = TypeAdapter(Annotated[AnyRecord | Header, Field(discriminator="kind")])


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _content(value: Any) -> dict[str, Any]:
    """What JSON holds of a record, or of a section of the result."""
    if isinstance(value, Record):
        kind: Any = type(value)
        return {name: getattr(value, name) for name in _fields(kind)}
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} is no part of a record")


ENCODER = json.JSONEncoder(ensure_ascii=False, default=_content)


def encoded(record: Record) -> bytes:
    """A record as JSON in one line, in UTF-8."""
    text = ENCODER.encode(_content(record))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):x}", text).encode()


def decoded(line: bytes) -> AnyRecord | Header | None:
    """The record of a line; None where it is none of a known kind, all of whose fields have their types."""
    try:
        return ADAPTER.validate_json(line)
    except (ValidationError, RecursionError):
        return None
