"""Units of checks in the journal: read back, and taken back where the sample is tried again."""

from __future__ import annotations

import numpy as np

from robaudit.audit.journal.journal import Journal, unit_record, unit_result
from robaudit.audit.journal.records import fits
from robaudit.engine.units import Unit, UnitResult


def of_check(sample: int, error: str | None = None, success: bool = False) -> dict:
    result = UnitResult(Unit(0, 0, sample), success, 3 if success else -1, 0.1 if success else None, 4, 4, error=error)
    return unit_record("pgd", result) | {"kind": "check unit", "check": "unbounded", "job": "ab" * 32}


def test_a_unit_and_its_point_are_read_back(tmp_path) -> None:
    journal, point = Journal(tmp_path), np.arange(4, dtype=np.float32)
    journal.append(of_check(5, success=True), point)
    journal.append(of_check(6))
    again = journal.reopened()
    first, second = again.of("check unit")
    found = unit_result(first, again.point(first))
    assert (found.unit, found.success, found.forwards) == (Unit(0, 0, 5), True, 4)
    assert found.point.tolist() == point.tolist()
    assert again.point(second) is None
    assert list(again.of("unit")) == []  # no attack's cost or success


def test_a_record_of_another_shape_does_not_count() -> None:
    assert fits(of_check(1))
    for change in ({"job": "ab"}, {"check": 3}, {"forwards": -1}, {"success": 1}):
        assert not fits(of_check(1) | change)


def test_what_a_lost_sample_cost_a_check_is_taken_back_when_it_is_tried_again() -> None:
    journal = Journal(None)
    journal.append({"kind": "lost", "sample": 1, "name": "a", "message": "it hung"})
    journal.append(of_check(1, error="it hung"))
    journal.append(of_check(2))
    journal.append({"kind": "retry", "samples": [1], "checks": []})
    assert [record["sample"] for record in journal.of("check unit")] == [2]
