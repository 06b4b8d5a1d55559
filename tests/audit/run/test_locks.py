"""One audit at a time works in a run directory, on one machine or on several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from robaudit.audit.journal.keys import RunKey
from robaudit.audit.run import locks
from robaudit.audit.run.locks import HOLDER, held, locked
from robaudit.audit.run.rundir import claimed
from robaudit.errors import UsageError

KEY = RunKey(b"key", "name")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 0.6)


def other_machine(folder: Path, count: str = "000000000007") -> None:
    content = {"machine": "another kernel", "host": "build-7", "process": os.getpid(), "count": count}
    (folder / HOLDER).write_text(json.dumps(content))


def test_an_audit_of_another_machine_that_counts_is_left_alone(tmp_path: Path) -> None:
    over = threading.Event()

    def count() -> None:
        number = 0
        while not over.wait(0.1):
            number += 1
            other_machine(tmp_path, f"{number:012d}")

    other_machine(tmp_path)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        with (
            pytest.raises(UsageError, match=r"is working in .*, on the machine build-7"),
            claimed(tmp_path, "id", fresh=True, key=KEY),
        ):
            pass
    finally:
        over.set()
        thread.join()
    assert "build-7" in (tmp_path / HOLDER).read_text()


def test_a_machine_that_counts_no_more_is_over(tmp_path: Path) -> None:
    other_machine(tmp_path)
    start = time.monotonic()
    with claimed(tmp_path, "id", fresh=False, key=KEY):
        assert time.monotonic() - start > 0.5
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()
    assert not (tmp_path / HOLDER).exists()


def test_a_machine_that_ends_meanwhile_is_waited_for_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 60.0)
    other_machine(tmp_path)
    threading.Timer(0.2, (tmp_path / HOLDER).unlink).start()
    start = time.monotonic()
    with held(tmp_path):
        pass
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 1}', "[" * 100_000])
def test_a_damaged_account_holds_nobody_up(tmp_path: Path, content: str) -> None:
    (tmp_path / HOLDER).write_text(content)
    start = time.monotonic()
    with held(tmp_path):
        pass
    assert time.monotonic() - start < 0.5


def test_the_holder_counts(tmp_path: Path) -> None:
    with held(tmp_path):
        first = json.loads((tmp_path / HOLDER).read_text())["count"]
        size = (tmp_path / HOLDER).stat().st_size
        time.sleep(0.5)
        assert json.loads((tmp_path / HOLDER).read_text())["count"] > first
        assert (tmp_path / HOLDER).stat().st_size == size


HOLD = """
import sys, time
from pathlib import Path
from robaudit.audit.run.rundir import claimed
from robaudit.audit.journal.keys import RunKey
with claimed(Path(sys.argv[1]), "id", fresh=False, key=RunKey(b"key", "name")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_process_holds_nobody_up_whoever_has_its_number_now(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(UsageError, match="another robaudit is working in"),
        claimed(tmp_path, "id", fresh=True, key=KEY),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    account = json.loads((tmp_path / HOLDER).read_text())
    (tmp_path / HOLDER).write_text(json.dumps({**account, "process": os.getpid()}))  # its number in use again
    start = time.monotonic()
    with claimed(tmp_path, "id", fresh=False, key=KEY):
        assert time.monotonic() - start < 0.5


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.raises(UsageError, match="cannot be used: Operation not supported"), locked(tmp_path, "l", wait=0):
        pass
