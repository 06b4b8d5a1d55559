"""Records of a journal, with what does not matter to a test filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from robaudit.audit.journal.records.attacks import AttackEnded, AttackPlan, PlannedEntry
from robaudit.audit.journal.records.kinds import AnyRecord, decoded, encoded
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.units import FinishedUnit, finished_unit
from robaudit.engine.units import Unit, UnitResult


def comes_back(records: Iterable[AnyRecord]) -> bool:
    """Whether a later session reads what was written."""
    return all(decoded(encoded(record)) == record for record in records)


def clean(index: int, **changes: Any) -> CleanSample:
    blank = CleanSample(index=index, id=str(index), label=0, prediction=0, digest=str(index), error=None)
    return replace(blank, **changes)


def unit(attack: str, sample: int, **changes: Any) -> FinishedUnit:
    return replace(finished_unit(attack, UnitResult(Unit(0, 0, sample), False)), **changes)


def plan(*names: str, **changes: Any) -> AttackPlan:
    blank = PlannedEntry(
        id="", name="", access="scores", status="ready", reason=None, parameters={}, norm="linf", phase="cascade"
    )
    return AttackPlan(attacks=tuple(replace(blank, id=name, name=name, **changes) for name in names))


def ended(attack: str, **changes: Any) -> AttackEnded:
    return replace(AttackEnded(id=attack, status="done", reason=None, seconds=1.0, cause=None), **changes)
