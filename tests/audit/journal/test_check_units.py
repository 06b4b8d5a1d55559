"""Units of checks in the journal: read back, and taken back where the sample is tried again."""

from __future__ import annotations

import numpy as np

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import LostSample, Retry
from robaudit.audit.journal.records.units import CheckUnit, FinishedUnit, check_unit, unit_result
from robaudit.engine.units import Unit, UnitResult


def of_check(sample: int, error: str | None = None, success: bool = False) -> CheckUnit:
    result = UnitResult(Unit(0, 0, sample), success, 3 if success else -1, 0.1 if success else None, 4, 4, error=error)
    return check_unit("unbounded", "ab" * 32, "pgd", result)


def test_a_unit_and_its_point_are_read_back(tmp_path) -> None:
    journal, point = Journal(tmp_path), np.arange(4, dtype=np.float32)
    journal.append(of_check(5, success=True), point)
    journal.append(of_check(6))
    again = journal.reopened()
    first, second = again.of(CheckUnit)
    found = unit_result(first, again.point(first))
    assert (found.unit, found.success, found.forwards) == (Unit(0, 0, 5), True, 4)
    assert found.point.tolist() == point.tolist()
    assert again.point(second) is None
    assert list(again.of(FinishedUnit)) == []  # no attack's cost or success


def test_what_a_lost_sample_cost_a_check_is_taken_back_when_it_is_tried_again() -> None:
    journal = Journal(None)
    journal.append(LostSample(sample=1, name="a", message="it hung", limit=None))
    journal.append(of_check(1, error="it hung"))
    journal.append(of_check(2))
    journal.append(Retry(samples=(1,), checks=()))
    assert [record.sample for record in journal.of(CheckUnit)] == [2]
