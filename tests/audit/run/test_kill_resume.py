"""SIGKILL at random moments, as benchmarks/kill_resume.py measures it for every profile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks/kill_resume.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_killed_audits_come_to_what_an_unbroken_one_says() -> None:
    command = [sys.executable, SCRIPT, "--profiles", "quick", "--kills", "3", "--samples", "6", "--most", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    name, _, units, evaluations, kills, _, outcome, twice = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    assert (name, kills, outcome, twice) == ("quick", "3", "all equal", "0")
    assert int(units) >= 6
    assert int(evaluations) > 30
