"""What a journal holds of the looks of a sequential audit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from robaudit.audit.journal.causes import Cause
from robaudit.audit.journal.journal import Journal, Record
from robaudit.engine.units import sample_of

__all__ = ["completed", "restricted", "settled"]


SEVERITY = ("done", "partial", "failed")


def recorded(journal: Journal) -> list[Record]:
    """The looks in order; one that was taken again discards those after it."""
    looks: list[Record] = []
    for record in journal.of("look"):
        looks = [*looks[: record["number"] - 1], record]
    return looks


def settled(journal: Journal) -> list[Record]:
    """The looks that need not be taken again: those before the first with an attack that failed."""
    found: list[Record] = []
    for record in recorded(journal):
        if any(status != "done" for status, *_ in record["attacks"].values()):
            break
        found.append(record)
    return found


def restricted(journal: Journal, indices: Collection[int]) -> Journal:
    """The journal as if only these samples had been answered and attacked; to read from."""
    kept = set(indices)

    def counts(record: Record) -> bool:
        if record["kind"] == "clean":
            return record["index"] in kept
        return record["kind"] not in ("unit", "certificate") or sample_of(record["sample"]) in kept

    records = [record for record in journal.records if counts(record)]
    return Journal(journal.folder, None, records, journal.points, journal.failure)


def completed(journal: Journal) -> Journal:
    """The journal as if the audit had drawn the samples of its completed looks alone; to read from.

    Where no look was completed it is that of the first chunk, as far as that came.
    """
    looks = recorded(journal)
    indices = {i for look in looks for i in look["indices"]} if looks else set(journal.keyed("clean", "index"))
    found = restricted(journal, indices)
    names = {index: record["id"] for index, record in sorted(found.keyed("clean", "index").items())}
    changes: Record = {"indices": list(names), "ids": list(names.values()), "drawn": len(names)}
    passed = dict(looks[-1].get("passed", {})) if looks else {}
    told = passed.pop("told", [])
    for place, record in enumerate(found.records):
        if record["kind"] == "data":
            notes = [*record["notes"], *told] if told else record.get("notes", [])
            found.records[place] = {**record, **changes, **passed, "notes": notes}
    if looks:
        found.records = [record for record in found.records if record["kind"] != "attack"]
        found.records += _attacks(journal, found, looks)
    return found


def _attacks(journal: Journal, kept: Journal, looks: Sequence[Record]) -> list[Record]:
    """What became of each attack over all looks: the worst of them."""
    tried = {record["attack"] for record in kept.of("unit") if not record["error"]}
    found = []
    for key, last in journal.keyed("attack", "id").items():
        outcomes = [look["attacks"][key] for look in looks if key in look["attacks"]]
        # where a look left it a few samples alone, none of which it could be carried out on, that is theirs to tell
        outcomes = [o for o in outcomes if not (key in tried and o[2] == Cause.UNTRIED)] or [["done", None, None]]
        status, reason, cause = max(outcomes, key=lambda outcome: SEVERITY.index(outcome[0]))
        found.append({**last, "status": status, "reason": reason, "cause": cause})
    return found
