"""Audits where a file system is missing or takes nothing, as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from run_kit import environment, load, make_data, make_onnx, make_profile, scan_command


def apart(words: list[str], before: str) -> subprocess.CompletedProcess[str]:
    """A command with file systems of its own; ``before``: what is mounted."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0 or subprocess.run([unshare, "-m", "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED where file systems are missing or read-only: mounting needs root")
    line = " ".join(f"'{word}'" for word in words)
    command = [unshare, "-m", "sh", "-c", f"{before} && exec {line}"]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)


def command(folder: Path, run: str) -> list[str]:
    profile = make_profile(folder / "p.yaml", "\n  - {id: fgsm}\n")
    return scan_command(make_onnx(folder / "m.onnx"), make_data(folder / "d.npz", 6), profile, folder / run)


@pytest.mark.slow
def test_an_audit_needs_no_shared_memory(tmp_path: Path) -> None:
    done = apart(command(tmp_path, "run"), "umount -l /dev/shm")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "run").run.complete


@pytest.mark.parametrize("run", ["disk", "disk/run"])
def test_a_run_directory_on_a_read_only_file_system_is_refused(tmp_path: Path, run: str) -> None:
    (tmp_path / "disk").mkdir()
    done = apart(command(tmp_path, run), f"mount -t tmpfs -o ro tmpfs '{tmp_path}/disk'")
    assert done.returncode == 2
    [told] = done.stderr.splitlines()
    assert told == (
        f"robaudit: error: the run directory {tmp_path / run} cannot be used: Read-only file system; choose another "
        "with --run-dir"
    )


BACKWARDS = """
import datetime, os, time

begun, at = float(os.environ["CLOCK_BEGUN"]), float(os.environ["CLOCK_AT"])
usual = datetime.datetime


def now():
    return at - 60 * (time.monotonic() - begun)


class Datetime(usual):
    @classmethod
    def now(cls, tz=None):
        return usual.fromtimestamp(now(), tz)


datetime.datetime, time.time = Datetime, now
"""
"""A clock that goes back a minute every second."""


@pytest.mark.slow
def test_a_clock_that_goes_backwards_changes_no_outcome(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BACKWARDS)
    noon = datetime(2026, 5, 5, 12, tzinfo=UTC).timestamp()
    clock = {"PYTHONPATH": str(tmp_path / "site"), "CLOCK_BEGUN": str(time.monotonic()), "CLOCK_AT": str(noon)}
    words = command(tmp_path, "run")
    found = []
    for _ in range(2):
        done = subprocess.run(words, env=environment() | clock, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found.append(load(tmp_path / "run"))
    first, again = found
    assert first.run.started.startswith("2026-05-05")
    assert first.run.started <= first.run.finished
    assert first.run.seconds > 0
    assert again.samples == first.samples
    assert again.run.seconds == first.run.seconds, "a finished run is shown again"
    usual = subprocess.run([*words, "--fresh"], env=environment(), capture_output=True, text=True, timeout=120)
    assert usual.returncode == 0
    assert load(tmp_path / "run").samples == first.samples
