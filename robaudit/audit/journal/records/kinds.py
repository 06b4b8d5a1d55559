"""All kinds of records, as bytes and back. A new kind goes into the file of its subject, and into the list here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError

from robaudit.audit.journal.records.attacks import AttackEnded, AttackPlan, AuxiliaryModel, CertifierEnded, FitRound
from robaudit.audit.journal.records.base import Record
from robaudit.audit.journal.records.findings import CheckEnded, EvidenceKept, LookTaken, PriorTests, ResultWritten
from robaudit.audit.journal.records.samples import CertifiedSample, CleanSample, LostSample, Retry
from robaudit.audit.journal.records.session import (
    BatchChosen,
    BudgetSpent,
    ChosenSets,
    DataFacts,
    EnvironmentFacts,
    MeaningFound,
    Remark,
    SessionBegun,
    SessionEnded,
    TargetFacts,
)
from robaudit.audit.journal.records.units import CheckUnit, FinishedUnit

__all__ = ["VERSION", "AnyPointed", "AnyRecord", "Header", "R", "decoded", "encoded"]

VERSION = 2
"""Of what the records hold; a journal with another one is refused. Version 1 did not say so."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""What stands for bytes of a file's name that are no UTF-8, and JSON cannot hold."""

_OfSessions: TypeAlias = (
    TargetFacts
    | EnvironmentFacts
    | DataFacts
    | ChosenSets
    | MeaningFound
    | SessionBegun
    | SessionEnded
    | BudgetSpent
    | BatchChosen
    | Remark
)
_OfAttacks: TypeAlias = AttackPlan | AttackEnded | AuxiliaryModel | CertifierEnded | FitRound
_OfSamples: TypeAlias = FinishedUnit | CheckUnit | CleanSample | LostSample | Retry | CertifiedSample
_OfFindings: TypeAlias = CheckEnded | LookTaken | EvidenceKept | PriorTests | ResultWritten

AnyRecord: TypeAlias = _OfSessions | _OfAttacks | _OfSamples | _OfFindings
AnyPointed: TypeAlias = FinishedUnit | CheckUnit | CleanSample | FitRound
"""Those that may have a point beside them."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header(Record):
    """The first line of a journal: the version of its records."""

    kind: Literal["journal"] = "journal"
    version: int


ADAPTER: TypeAdapter[AnyRecord | Header] = TypeAdapter(Annotated[AnyRecord | Header, Field(discriminator="kind")])


OF_KIND: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (*get_args(AnyRecord), Header)}


def encoded(record: Record) -> bytes:
    """A record as JSON in one line, in UTF-8."""
    text = json.dumps(OF_KIND[type(record)].dump_python(record), ensure_ascii=False)
    return SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):x}", text).encode()


def decoded(line: bytes) -> AnyRecord | Header | None:
    """The record of a line; None where it is none of a known kind, all of whose fields have their types."""
    try:
        return ADAPTER.validate_json(line)
    except (ValidationError, RecursionError):
        return None
