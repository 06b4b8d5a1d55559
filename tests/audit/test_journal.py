"""The journal survives what happens to files: torn tails, missing points, a full disk, edits."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robaudit.audit.journal import Journal, unit_record, unit_result
from robaudit.engine.units import Unit, UnitResult


def filled(folder: Path, count: int = 5) -> Journal:
    journal = Journal(folder)
    for i in range(count):
        journal.append({"kind": "unit", "sample": i}, np.full((2, 3), i, np.float32) if i % 2 else None)
    return journal


def reloaded(folder: Path) -> Journal:
    journal = Journal(folder)
    journal.load()
    return journal


def test_records_and_points_come_back(tmp_path: Path) -> None:
    filled(tmp_path)
    journal = reloaded(tmp_path)
    assert [r["sample"] for r in journal.of("unit")] == [0, 1, 2, 3, 4]
    points = [journal.point(r) for r in journal.of("unit")]
    assert [p is None for p in points] == [True, False, True, False, True]
    assert points[3].dtype == np.float32
    np.testing.assert_array_equal(points[3], np.full((2, 3), 3))


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert reloaded(tmp_path).records == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 10_000), points=st.integers(0, 10_000))
def test_any_torn_tail_is_dropped_and_appending_goes_on(tmp_path: Path, cut: int, points: int) -> None:
    for name in ("journal.jsonl", "points.bin"):
        (tmp_path / name).unlink(missing_ok=True)
    filled(tmp_path)
    for name, keep in (("journal.jsonl", cut), ("points.bin", points)):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: keep % (len(content) + 1)])
    journal = reloaded(tmp_path)
    kept = [r["sample"] for r in journal.records]
    assert kept == sorted(set(kept))
    for record in journal.records:
        point = journal.point(record)
        assert point is None or (point == record["sample"]).all()
    journal.append({"kind": "unit", "sample": 9}, np.full((2, 3), 9, np.float32))
    again = reloaded(tmp_path)
    assert [r["sample"] for r in again.records] == [*kept, 9]
    assert (again.point(again.records[-1]) == 9).all()


def test_nonsense_ends_the_reading(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b"[1, 2]\n" + b'{"kind": "unit", "sample": 7}\n')
    assert len(reloaded(tmp_path).records) == 5
    assert (tmp_path / "journal.jsonl").read_bytes().count(b"\n") == 5


def test_a_full_disk_is_remembered_and_points_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = filled(tmp_path)
    heard: list[Any] = []
    journal.listener = lambda *told: heard.append(told)

    def full(point: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_write_point", full)
    point = np.ones((2, 3))
    journal.append({"kind": "unit", "sample": 5}, point)
    journal.append({"kind": "note", "message": "later"})
    assert journal.failure == "No space left on device"
    assert journal.point(journal.records[5]) is point
    assert journal.records[6]["message"] == "later"
    assert heard[0][1] is point
    assert [told[2] for told in heard] == ["No space left on device"] * 2
    assert len(reloaded(tmp_path).records) == 5
    supervisor = reloaded(tmp_path)
    for record, unwritten, _ in heard:
        supervisor.receive(record, unwritten)
    assert supervisor.point(supervisor.records[5]) is point


def test_without_a_folder_all_is_in_memory() -> None:
    journal = Journal(None)
    journal.append({"kind": "unit", "sample": 1}, np.ones(3))
    assert (journal.point(journal.records[0]) == 1).all()


def test_the_newest_record_counts(tmp_path: Path) -> None:
    journal = filled(tmp_path, 0)
    for sample, value in ((1, "a"), (2, "b"), (1, "c")):
        journal.append({"kind": "unit", "sample": sample, "value": value})
    assert journal.keyed("unit", "sample")[1]["value"] == "c"
    assert journal.last("unit", sample=2)["value"] == "b"
    assert journal.last("unit", sample=3) is None


def test_a_unit_comes_back_without_its_point() -> None:
    unit = UnitResult(Unit(2, 1, 7), True, 3, 0.25, 10, 9, 8, 2, 1, np.ones(3), None)
    assert unit_result(unit_record("pgd", unit)) == unit
    failed = UnitResult(Unit(0, 0, 1), False, error="gone")
    assert unit_result(unit_record("pgd", failed)) == failed
