"""The journal survives what happens to files: torn tails, missing points, a full disk; and finds every edit."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robaudit.audit.journal.journal import Journal, OtherVersionError
from robaudit.audit.journal.records.kinds import VERSION
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.journal.records.units import FinishedUnit, finished_unit, unit_result
from robaudit.engine.units import Unit, UnitResult

KEY = b"the user's"


def unit(sample: int) -> FinishedUnit:
    return finished_unit("pgd", UnitResult(Unit(0, 0, sample), sample % 2 == 1, prediction=sample, forwards=3))


def filled(folder: Path, count: int = 5) -> Journal:
    journal = Journal(folder, key=KEY)
    for i in range(count):
        journal.append(unit(i), np.full((2, 3), i, np.float32) if i % 2 else None)
    return journal


def reloaded(folder: Path, key: bytes = KEY) -> Journal:
    journal = Journal(folder, key=key)
    journal.load()
    return journal


def samples(journal: Journal) -> list[int]:
    return [record.sample for record in journal.of(FinishedUnit)]


def lines(folder: Path) -> list[bytes]:
    return (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)


def write(folder: Path, changed: list[bytes]) -> None:
    (folder / "journal.jsonl").write_bytes(b"".join(changed))


def test_records_and_points_come_back(tmp_path: Path) -> None:
    filled(tmp_path)
    journal = Journal(tmp_path, key=KEY)
    assert journal.load() is None
    assert journal.records[2] == unit(2)
    assert samples(journal) == [0, 1, 2, 3, 4]
    points = [journal.point(r) for r in journal.of(FinishedUnit)]
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
    kept = samples(journal)
    assert kept == list(range(len(kept)))
    for record in journal.of(FinishedUnit):
        point = journal.point(record)
        assert point is None or (point == record.sample).all()
    journal.append(unit(9), np.full((2, 3), 9, np.float32))
    again = Journal(tmp_path, key=KEY)
    assert again.load() is None
    assert samples(again) == [*kept, 9]
    assert (again.point(again.records[-1]) == 9).all()


def test_a_cut_tail_keeps_all_whole_records_and_is_told(tmp_path: Path) -> None:
    filled(tmp_path)
    whole = lines(tmp_path)
    write(tmp_path, [*whole[:4], whole[4][:40]])
    journal = Journal(tmp_path, key=KEY)
    told = journal.load()
    assert told == "the last record of the journal was cut off, as by a kill or a full disk; it is computed again"
    assert samples(journal) == [0, 1, 2]
    assert [note.message for note in reloaded(tmp_path).of(Remark)] == [told]


def edited(line: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(line) | fields).encode() + b"\n"


EDITS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "a success made a failure": (lambda all_: [*all_[:1], edited(all_[1], success=False), *all_[2:]], 4),
    "one bit": (lambda all_: [all_[0], all_[1].replace(b'"forwards": 3', b'"forwards": 2'), *all_[2:]], 4),
    "a space": (lambda all_: [all_[0], all_[1].replace(b": ", b":  ", 1), *all_[2:]], 4),
    "the name of the seal": (lambda all_: [all_[0], all_[1].replace(b'"seal"', b'"real"'), *all_[2:]], 4),
    "another seal": (lambda all_: [all_[0], edited(all_[1], seal="0" * 64), *all_[2:]], 4),
    "no seal": (lambda all_: [all_[0], b'{"kind": "note", "message": "x"}\n', *all_[1:]], 5),
    "a record removed": (lambda all_: [all_[0], *all_[2:]], 3),
    "a record twice": (lambda all_: [all_[0], all_[0], *all_[1:]], 5),
    "two exchanged": (lambda all_: [all_[0], all_[2], all_[1], *all_[3:]], 4),
    "nonsense": (lambda all_: [all_[0], b"\xff\x00[1, 2]\n", *all_[1:]], 5),
    "an empty line": (lambda all_: [all_[0], b"\n", *all_[1:]], 5),
    "deep nesting": (lambda all_: [all_[0], b"[" * 100_000 + b"\n", *all_[1:]], 5),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_was_edited_is_found_and_computed_again(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    change, lost = EDITS[name]
    header, *records = lines(tmp_path)
    write(tmp_path, [header, *change(records)])
    journal = Journal(tmp_path, key=KEY)
    assert journal.load() == (
        "line 3 of the journal, or what it names, is not as it was written: "
        f"{lost} records from there on are computed again"
    )
    assert samples(journal) == [0]
    journal.append(unit(1), np.full((2, 3), 1, np.float32))
    assert samples(reloaded(tmp_path)) == [0, 1]


def test_an_edited_last_record_is_told_as_one(tmp_path: Path) -> None:
    filled(tmp_path)
    whole = lines(tmp_path)
    write(tmp_path, [*whole[:-1], edited(whole[-1], success=True)])
    assert (Journal(tmp_path, key=KEY).load() or "").endswith("as it was written: that record is computed again")


def test_edited_points_are_found(tmp_path: Path) -> None:
    filled(tmp_path)
    content = bytearray((tmp_path / "points.bin").read_bytes())
    content[-1] ^= 1  # of sample 3
    (tmp_path / "points.bin").write_bytes(content)
    assert samples(reloaded(tmp_path)) == [0, 1, 2]
    (tmp_path / "points.bin").unlink()
    assert samples(reloaded(tmp_path)) == [0]


def test_whoever_has_not_the_key_cannot_seal(tmp_path: Path) -> None:
    forged = Journal(tmp_path, key=b"the forger's")
    forged.append(unit(0))
    assert samples(reloaded(tmp_path)) == []
    assert Journal(tmp_path, key=KEY).load() is None  # begun anew
    mine = tmp_path / "mine"
    mine.mkdir()
    filled(mine)
    assert samples(reloaded(mine, b"of another run")) == []


def versioned(line: bytes, version: object) -> bytes:
    return json.dumps({**json.loads(line), "version": version}).encode() + b"\n"


OTHERS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "a newer one": (lambda all_: [versioned(all_[0], 5), *all_[1:]], "version 5"),
    "an older one": (lambda all_: [versioned(all_[0], 1), *all_[1:]], "version 1"),
    "no number": (lambda all_: [versioned(all_[0], "\x1b[2J"), *all_[1:]], "a version that it does not tell"),
    "none": (lambda all_: all_[1:], "a version that it does not tell"),
    "one unit alone": (lambda all_: [b'{"kind": "unit"}\n'], "a version that it does not tell"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_records_of_another_version_are_refused_and_kept(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    change, told = OTHERS[name]
    write(tmp_path, change(lines(tmp_path)))
    before = lines(tmp_path)
    with pytest.raises(OtherVersionError) as refused:
        Journal(tmp_path, key=KEY).load()
    assert str(refused.value) == (
        f"another robaudit wrote it: its records are of {told}, and this one reads version {VERSION}"
    )
    assert lines(tmp_path) == before


@pytest.mark.parametrize("length", [1, 20, 36, 80])
def test_a_journal_cut_in_its_first_line_begins_anew(tmp_path: Path, length: int) -> None:
    filled(tmp_path)
    write(tmp_path, [lines(tmp_path)[0][:length]])
    told = Journal(tmp_path, key=KEY).load()
    assert told == "the last record of the journal was cut off, as by a kill or a full disk; it is computed again"
    assert reloaded(tmp_path).records == [Remark(message=told)]


def test_a_first_line_that_was_edited_is_told(tmp_path: Path) -> None:
    filled(tmp_path)
    header, *others = lines(tmp_path)
    write(tmp_path, [header.replace(b"journal", b" journal"), *others])
    with pytest.raises(OtherVersionError):
        Journal(tmp_path, key=KEY).load()
    write(tmp_path, [edited(header, more=1), *others])
    told = Journal(tmp_path, key=KEY).load() or ""
    assert told.startswith("line 1 of the journal, or what it names, is not as it was written: 6 records")


@pytest.mark.parametrize("name", ["journal.jsonl", "points.bin"])
@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path, name: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.write_bytes(b"mine")
    for make in (lambda path: path.symlink_to(other), lambda path: path.symlink_to("nowhere"), os.mkfifo):
        make(run / name)
        journal = Journal(run, key=KEY)
        journal.append(unit(1), np.ones(3))
        assert journal.failure is not None
        assert other.read_bytes() == b"mine"
        assert not (run / "nowhere").exists()
        (run / name).unlink()
        for path in run.iterdir():
            path.unlink()


def test_another_name_of_the_journal_keeps_its_content(tmp_path: Path) -> None:
    filled(tmp_path)
    backup = tmp_path / "backup"
    os.link(tmp_path / "journal.jsonl", backup)
    before = backup.read_bytes()
    journal = reloaded(tmp_path)
    journal.append(unit(5))
    assert backup.read_bytes() == before
    assert samples(reloaded(tmp_path)) == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_is_remembered_and_points_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = filled(tmp_path)
    heard: list[Any] = []
    journal.listener = lambda *told: heard.append(told)

    def full(point: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_write_point", full)
    point = np.ones((2, 3))
    journal.append(unit(5), point)
    journal.append(Remark(message="later"))
    assert journal.failure == "No space left on device"
    assert journal.point(journal.records[5]) is point
    assert journal.records[6] == Remark(message="later")
    assert heard[0][1] is point
    assert [told[2] for told in heard] == ["No space left on device"] * 2
    assert len(reloaded(tmp_path).records) == 5
    supervisor = reloaded(tmp_path)
    for told in heard:
        supervisor.receive(*told)
    assert supervisor.point(supervisor.records[5]) is point
    assert supervisor.failure == "No space left on device"


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    supervisor, worker = Journal(tmp_path, key=KEY), Journal(tmp_path, key=KEY)
    supervisor.append(Remark(message="before"))
    worker.load()
    worker.listener = supervisor.receive
    worker.append(unit(0), np.ones(3))
    worker.append(unit(1))
    supervisor.append(Remark(message="after"))
    found = Journal(tmp_path, key=KEY)
    assert found.load() is None
    assert found.records == supervisor.records
    assert [record.kind for record in found.records] == ["note", "unit", "unit", "note"]


def test_without_a_folder_all_is_in_memory() -> None:
    journal = Journal(None)
    journal.append(unit(1), np.ones(3))
    assert (journal.point(journal.records[0]) == 1).all()


def test_the_newest_record_counts(tmp_path: Path) -> None:
    journal = filled(tmp_path, 0)
    for sample, value in ((1, 10), (2, 20), (1, 30)):
        journal.append(replace(unit(sample), queries=value))
    assert journal.keyed(FinishedUnit, "sample")[1].queries == 30
    newest = journal.last(FinishedUnit, sample=2)
    assert newest is not None
    assert newest.queries == 20
    assert journal.last(FinishedUnit, sample=3) is None


def test_a_unit_comes_back_without_its_point() -> None:
    found = UnitResult(Unit(2, 1, 7), True, 3, 0.25, 10, 9, 8, 2, 1, np.ones(3), None)
    assert unit_result(finished_unit("pgd", found)) == found
    failed = UnitResult(Unit(0, 0, 1), False, error="gone")
    assert unit_result(finished_unit("pgd", failed)) == failed
