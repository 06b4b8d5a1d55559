"""What a journal holds of the looks of a sequential audit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.findings import LookTaken, OutcomeAtLook
from robaudit.audit.journal.records.kinds import AnyRecord
from robaudit.audit.journal.records.samples import CertifiedSample, CleanSample
from robaudit.audit.journal.records.session import DataFacts
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.engine.units import sample_of

__all__ = ["completed", "restricted", "settled"]


SEVERITY = ("skipped", "done", "partial", "failed")
DONE = OutcomeAtLook(status="done", reason=None, cause=None)


def recorded(journal: Journal) -> list[LookTaken]:
    """The looks in order; one that was taken again discards those after it."""
    looks: list[LookTaken] = []
    for record in journal.of(LookTaken):
        looks = [*looks[: record.number - 1], record]
    return looks


def settled(journal: Journal) -> list[LookTaken]:
    """The looks that need not be taken again: those before the first with an attack that failed."""
    found: list[LookTaken] = []
    for record in recorded(journal):
        if any(outcome.status not in ("skipped", "done") for outcome in record.attacks.values()):
            break
        found.append(record)
    return found


def restricted(journal: Journal, indices: Collection[int]) -> Journal:
    """The journal as if only these samples had been answered and attacked; to read from."""
    kept = set(indices)

    def counts(record: AnyRecord) -> bool:
        if isinstance(record, CleanSample):
            return record.index in kept
        return not isinstance(record, FinishedUnit | CertifiedSample) or sample_of(record.sample) in kept

    records = [record for record in journal.records if counts(record)]
    return Journal(journal.folder, None, records, journal.points, journal.failure)


def completed(journal: Journal) -> Journal:
    """The journal as if the audit had drawn the samples of its completed looks alone; to read from.

    Where no look was completed it is that of the first chunk, as far as that came.
    """
    looks = recorded(journal)
    indices = {i for look in looks for i in look.indices} if looks else set(journal.keyed(CleanSample, "index"))
    found = restricted(journal, indices)
    names = {index: record.id for index, record in sorted(found.keyed(CleanSample, "index").items())}
    for place, record in enumerate(found.records):
        if isinstance(record, DataFacts):
            found.records[place] = _drawn(record, names, looks)
    if looks:
        found.records = [record for record in found.records if not isinstance(record, AttackEnded)]
        found.records += _attacks(journal, found, looks)
    return found


def _drawn(record: DataFacts, names: Mapping[int, str], looks: Sequence[LookTaken]) -> DataFacts:
    """What the data are, as if these samples alone had been drawn, and passed over what was until the last look."""
    changes: dict[str, Any] = {"drawn": len(names)}
    if looks:
        passed = looks[-1].passed
        changes |= {"repeats": passed.repeats, "contradictions": passed.contradictions}
        changes["notes"] = (*record.section.notes, *passed.told)
    section = record.section.model_copy(update=changes)
    return replace(record, section=section, indices=tuple(names), ids=tuple(names.values()))


def _attacks(journal: Journal, kept: Journal, looks: Sequence[LookTaken]) -> list[AttackEnded]:
    """What became of each attack over all looks: the worst of them."""
    tried = {record.attack for record in kept.of(FinishedUnit) if not record.error}
    found = []
    for key, last in journal.keyed(AttackEnded, "id").items():
        outcomes = [look.attacks[key] for look in looks if key in look.attacks]
        # where a look left it a few samples alone, none of which it could be carried out on, that is theirs to tell
        outcomes = [o for o in outcomes if not (key in tried and o.cause == Cause.UNTRIED)] or [DONE]
        worst = max(outcomes, key=lambda outcome: SEVERITY.index(outcome.status))
        reason = None if worst.status == "done" and len(outcomes) > 1 else worst.reason  # of one look alone
        found.append(replace(last, status=worst.status, reason=reason, cause=worst.cause))
    return found
