"""A higher ``--call-timeout`` asks again what a lower one gave up, and needs no fresh start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journal_kit import clean, comes_back, unit
from run_kit import make_data, make_onnx, make_profile, make_request, outcome, run_here

from robaudit.audit.journal.care import lost_in
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import LostSample, Retry
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.run.again import Again, Ending, retried
from robaudit.audit.run.audit import run_audit
from robaudit.target.running.watch import AtWork

HUNG = AtWork("fgsm ran", ("d.npz[5]",), (5,), 10.0, True)


def request_in(folder: Path, **changes: Any) -> Any:
    model, data = make_onnx(folder / "m.onnx"), make_data(folder / "d.npz", 8)
    return make_request(model, data, make_profile(folder / "p.yaml"), **changes)


def lose(folder: Path, request: Any, ending: Ending) -> Journal:
    folder.mkdir(exist_ok=True)
    journal = Journal(folder)
    journal.load()
    assert isinstance(Again().after(ending, request, journal), Again)
    return journal


def test_a_higher_limit_asks_a_lost_sample_again(tmp_path: Path) -> None:
    request = request_in(tmp_path, call_timeout=10.0)
    lose(tmp_path / "run", request, Ending(loaded=True, hung=True, at_work=HUNG))
    assert [s.index for s in run_here(request, tmp_path / "run").samples if s.error] == [5]
    journal = Journal(tmp_path / "run")
    journal.load()
    assert retried(journal, request) is None
    told = retried(journal, request_in(tmp_path, call_timeout=11.0))
    assert told is not None
    assert "d.npz[5]" in told
    assert comes_back(journal.records)
    assert not lost_in(journal)
    assert retried(journal, request_in(tmp_path, call_timeout=11.0)) is None
    again = run_here(request, tmp_path / "run")
    assert outcome(again) == outcome(run_here(request, tmp_path / "other"))
    assert not any(s.error for s in again.samples)


def test_a_retry_takes_back_what_lost_samples_cost_and_nothing_else(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    lost = LostSample(sample=1, name="b", message="no answer", limit=1.0)
    kept = [
        LostSample(sample=2, name="b", message="crashed", limit=None),
        clean(1),
        unit("a", 1),  # before it was lost
        unit("b", 1, error="cannot be read"),
        unit("b", 2, error="no answer"),
    ]
    for record in (lost, *kept, unit("b", 1, error="no answer")):
        journal.append(record)
    assert retried(journal, request_in(tmp_path, call_timeout=2.0)) is not None
    assert [type(record) for record in journal.records[len(kept) :]] == [Retry, Remark]
    assert journal.records[: len(kept)] == kept
    assert journal.reopened().records == journal.records


@pytest.mark.parametrize(
    ("limit", "backward", "allowed", "again"),
    [(10.0, False, 10.0, False), (10.0, False, 0.0, True), (50.0, True, 10.0, False), (50.0, True, 11.0, True)],
)
def test_what_counts_as_a_higher_limit(
    tmp_path: Path, limit: float, backward: bool, allowed: float, again: bool
) -> None:
    request = request_in(tmp_path, call_timeout=10.0)
    at_work = AtWork("fgsm ran", ("d.npz[5]",), (5,), limit, True, backward)
    journal = lose(tmp_path / "run", request, Ending(loaded=True, hung=True, at_work=at_work))
    assert (retried(journal, request_in(tmp_path, call_timeout=allowed)) is not None) == again


def test_a_crash_and_a_sequential_audit_stay_as_they_are(tmp_path: Path) -> None:
    request = request_in(tmp_path, call_timeout=10.0)
    crash = Ending(loaded=True, crashed=True, how="PyTorch crashed (SIGSEGV)", at_work=HUNG)
    assert retried(lose(tmp_path / "a", request, crash), request_in(tmp_path, call_timeout=99.0)) is None
    hung = Ending(loaded=True, hung=True, at_work=HUNG)
    more = request_in(tmp_path, call_timeout=99.0, until_decided=True)
    assert retried(lose(tmp_path / "b", request, hung), more) is None


def test_a_check_that_hung_is_carried_out_again(tmp_path: Path) -> None:
    request = request_in(tmp_path, call_timeout=10.0)
    at_work = AtWork("it was checked for clean", limit=10.0, calling=True, part="clean")
    journal = lose(tmp_path / "run", request, Ending(loaded=True, hung=True, at_work=at_work))
    failed = run_here(request, tmp_path / "run")
    assert [e.where for e in failed.errors] == ["check clean"]
    journal = Journal(tmp_path / "run")
    journal.load()
    assert retried(journal, request_in(tmp_path, call_timeout=20.0)) is not None
    assert not run_here(request, tmp_path / "run").errors


def test_a_finished_run_is_taken_up(tmp_path: Path) -> None:
    """As a user does: the same command with a higher limit."""
    request = request_in(tmp_path, call_timeout=10.0)
    _, folder = run_audit(request, tmp_path / "run", lambda _: None)
    told: list[str] = []
    result, _ = run_audit(request_in(tmp_path, call_timeout=99.0), folder, lambda _: None, warn=told.append)
    assert result.run.shown_again is not None  # nothing was lost
    assert not told
