"""Audits where a file system is missing or takes nothing, as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
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
