"""A time budget: what it keeps an audit from is told as not tried, and the next session goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_kit import load, make_data, make_onnx, make_profile, make_request, outcome, run_here, scan

from robaudit.audit.config.duration import parse_duration
from robaudit.audit.result.document import Result
from robaudit.audit.session.cascade import Cascade
from robaudit.errors import UsageError
from robaudit.report.sentences import run_words

CHECKS = "[clean, determinism, unbounded, evidence]"


def request(tmp_path: Path, budget: float | None):
    data, profile = make_data(tmp_path / "d.npz"), make_profile(tmp_path / "p.yaml", eps=0.1, checks=CHECKS)
    model = tmp_path / "m.onnx"
    if not model.exists():
        make_onnx(model)
    return dataclasses.replace(make_request(model, data, profile), time_budget=budget)


def session(tmp_path: Path, deadline: float | None, budget: float = 600.0) -> Result:
    return run_here(request(tmp_path, budget), tmp_path / "run", deadline=deadline)


def test_a_budget_that_ends_in_the_cascade_is_told_and_taken_up_again(tmp_path, monkeypatch) -> None:
    """The clock runs out when the second attack begins."""
    begun = []
    attack = Cascade._attack
    deadline = time.monotonic() + 600

    def late(self: Cascade, planned: object) -> None:
        begun.append(planned)
        attack(self, planned)
        if len(begun) == 1:
            monkeypatch.setattr(time, "monotonic", lambda: deadline + 1)

    with monkeypatch.context() as patched:
        patched.setattr(Cascade, "_attack", late)
        found = session(tmp_path, deadline)
    monkeypatch.undo()

    statuses = [(attack.status, attack.reason) for attack in found.attacks]
    assert statuses == [("done", None)] + [("not run", "the time budget was spent")] * 3
    assert (found.run.budget_spent, found.run.time_budget, found.run.reproducible) == (True, 600.0, False)
    assert not found.run.complete
    assert not found.run.interrupted
    assert (found.verdict.status, found.verdict.exit_code) == ("incomplete", 3)
    assert "the time budget of 600 s was spent" in found.verdict.reasons
    assert any("run the same command again" in step for step in found.verdict.next_steps)
    assert found.worst_case.robust_accuracy is None
    coverage = next(gate for gate in found.gates if gate.metric == "coverage")
    assert (coverage.status, coverage.value) == ("fail", 0.25)
    checks = {check.id: (check.status, check.message) for check in found.checks}
    assert checks["unbounded"] == checks["determinism"] == ("skipped", "the time budget was spent")
    assert checks["clean"][0] == checks["evidence"][0] == "pass"
    assert found.evidence.count == found.attacks[0].broken > 0

    again = session(tmp_path, None)
    assert not again.run.budget_spent
    assert again.run.complete
    whole = run_here(request(tmp_path, None), tmp_path / "whole")
    promised = again.model_copy(
        update={"run": again.run.model_copy(update={"time_budget": None, "reproducible": True})}
    )
    assert outcome(promised) == outcome(whole)


def test_a_budget_that_is_over_at_once_leaves_nothing_tried(tmp_path) -> None:
    found = session(tmp_path, time.monotonic() - 1, budget=0.5)
    assert found.run.budget_spent
    assert {attack.status for attack in found.attacks} == {"not run"}
    assert (found.verdict.status, found.verdict.exit_code) == ("incomplete", 3)
    assert found.worst_case.robust_accuracy is None


def test_a_budget_that_suffices_is_told_all_the_same(tmp_path) -> None:
    found = session(tmp_path, time.monotonic() + 600)
    assert (found.run.budget_spent, found.run.complete, found.run.reproducible) == (False, True, True)
    assert found.run.time_budget == 600.0
    assert "not reproducible" not in run_words(found)
    assert "within its time budget of 10 min 00 s" in run_words(found)
    assert found.verdict.exit_code == 0


def test_the_installed_command_ends_in_time(tmp_path) -> None:
    asked = request(tmp_path, None)
    done = scan(asked.model, asked.data, tmp_path / "p.yaml", tmp_path / "run", "--time-budget", "0.01s")
    assert done.returncode == 3, done.stderr
    assert "the time budget was spent" in done.stdout
    assert "not reproducible, as its time budget of 0.0 s was spent" in " ".join(done.stdout.split())
    assert load(tmp_path / "run").run.budget_spent


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("10 min", 600), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_durations(text, seconds) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "ten", "10 days", "1h30", "-5m", "5m-", "m", "nan", "inf"])
def test_what_is_no_duration_is_refused(text) -> None:
    with pytest.raises(UsageError, match="time budget"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.hms -", max_size=12))
def test_any_text_is_a_duration_or_refused(text) -> None:
    with contextlib.suppress(UsageError):
        assert parse_duration(text) > 0
