"""The units of a journal, put together attack by attack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from robaudit.audit.journal import Journal, Record, unit_result
from robaudit.engine.units import UnitResult, best_of

__all__ = ["Tally"]


class Tally:
    """What the journal says of the cascade.

    ``attacks`` are the plan's records with what became of them, ``best`` what each did to the samples that the
    ones before it left, ``left`` how many stood before the first and after each.
    """

    def __init__(self, journal: Journal, clean: Mapping[int, Record]) -> None:
        self.readable = sum(1 for r in clean.values() if r["readable"])
        self.correct = [i for i, r in clean.items() if r["error"] is None and r["prediction"] == r["label"]]
        units: dict[str, dict[int, list[UnitResult]]] = defaultdict(lambda: defaultdict(list))
        for record in journal.of("unit"):
            units[record["attack"]][record["sample"]].append(unit_result(record))
        outcomes = journal.keyed("attack", "id")
        plan = journal.last("plan")
        self.attacks: list[Record] = []
        self.best: dict[str, dict[int, UnitResult]] = {}
        self.broken_by: dict[int, str] = {}
        standing = set(self.correct)
        self.left = [len(standing)]
        for planned in plan["attacks"] if plan else ():
            key = planned["id"]
            results = {sample: best_of(found) for sample, found in units[key].items() if sample in standing}
            broken = [sample for sample, result in results.items() if result.success]
            standing.difference_update(broken)
            self.left.append(len(standing))
            self.broken_by.update(dict.fromkeys(broken, key))
            self.best[key] = results
            self.attacks.append({**planned, **_outcome(planned, outcomes.get(key), bool(results))})


def _outcome(planned: Record, recorded: Record | None, began: bool) -> Record:
    if planned["status"] != "ready":
        return {"seconds": 0.0}
    if recorded is not None:
        return {name: recorded[name] for name in ("status", "reason", "seconds")}
    if began:
        return {"status": "partial", "reason": "the worker ended during it", "seconds": 0.0}
    return {"status": "not run", "reason": "the audit ended before it", "seconds": 0.0}
