"""What was broken, with the points that broke it: for the checks of evidence, and for the evidence itself."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from robaudit.audit.journal.distances import nearest_records
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.plan.fronts import Front
from robaudit.audit.session.cascade import Cascade
from robaudit.checks.base import Breach
from robaudit.engine.units import sample_of
from robaudit.threat.model import Access

__all__ = ["breaches", "nearest", "tries"]


def breaches(fronts: Sequence[Front], cascades: Sequence[Cascade]) -> list[Breach]:
    """Everything that was broken, in data order; a sample once for each threat model.

    Args:
        fronts: the threat models.
        cascades: of each front, in the same order.
    """
    access = {p.key: p.attack.access for front in fronts for p in front.attacks()}
    winners: dict[tuple[int, int, int], FinishedUnit] = {}
    for record in cascades[0].journal.of(FinishedUnit):
        for place, cascade in enumerate(cascades if record.success else ()):
            case = record.sample
            if cascade.broken_by.get(case) == record.attack:
                key = (sample_of(case), case, place)
                winners[key] = min(winners.get(key, record), record, key=_precedence)
    return [
        _breach(record, access[record.attack], cascades[place])
        for (_, _, place), record in sorted(winners.items(), key=lambda item: item[0])
    ]


def nearest(fronts: Sequence[Front], cascades: Sequence[Cascade], correct: Sequence[int]) -> list[Breach]:
    """The nearest verified adversarial example of each sample in each norm, in data order.

    Args:
        fronts: the threat models.
        cascades: of each front, in the same order.
        correct: samples answered correctly; the others have none.
    """
    found: list[tuple[int, int, Breach]] = []
    known = set(correct)
    for place, (front, cascade) in enumerate(zip(fronts, cascades, strict=True)):
        access = {p.key: p.attack.access for p in front.attacks()}
        for sample, record in nearest_records(cascade.journal, access, cascade.threat.eps).items():
            if sample in known:
                found.append((sample, place, _breach(record, access[record.attack], cascade)))
    return [breach for _, _, breach in sorted(found, key=lambda entry: entry[:2])]


def tries(front: Front, cascade: Cascade) -> list[Breach]:
    """Of a random target, the point of each sample that stands at which most draws were fooled, in data order.

    Args:
        front: the threat model.
        cascade: of it.
    """
    access = {p.key: p.attack.access for p in front.attacks()}
    fallen = set(map(sample_of, cascade.broken_by))
    best: dict[int, FinishedUnit] = {}
    for record in cascade.journal.of(FinishedUnit):
        index = sample_of(record.sample)
        if record.share is None or record.success or index in fallen or record.attack not in access:
            continue
        if index not in best or record.share > (best[index].share or 0.0):
            best[index] = record
    return [
        Breach(r.sample, r.attack, access[r.attack], r.prediction, 0.0, functools.partial(_point, cascade.journal, r))
        for _, r in sorted(best.items())
    ]


def _breach(record: FinishedUnit, access: Access, cascade: Cascade) -> Breach:
    assert record.distance is not None  # it succeeded
    return Breach(
        record.sample,
        record.attack,
        access,
        record.prediction,
        record.distance,
        functools.partial(_point, cascade.journal, record),
        cascade.threat,
    )


def _precedence(record: FinishedUnit) -> tuple[float, int, int]:
    """Of an attack's successes on a sample the lowest unit's comes first, of the curve's attacks the nearest."""
    nearness = 0.0 if record.sought is None or record.distance is None else record.distance
    return nearness, record.restart, record.aim


def _point(journal: Journal, record: FinishedUnit) -> NDArray[Any]:
    point = journal.point(record)
    assert point is not None
    return point
