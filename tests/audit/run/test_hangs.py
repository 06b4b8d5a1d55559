"""Models that hang, crash or fail on one input: it costs that sample alone, and the audit comes to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from journal_kit import comes_back
from run_kit import load, make_data, make_profile, make_request, records, run_here, scan, start, wait_for
from run_kit import worker_of as worker_id

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded
from robaudit.audit.journal.records.samples import LostSample
from robaudit.audit.process.calling import in_child
from robaudit.audit.process.confinement import Confinement
from robaudit.audit.run import supervisor
from robaudit.audit.run.again import MOST, Again, Ending
from robaudit.audit.run.audit import run_audit
from robaudit.errors import AuditError
from robaudit.target.running.watch import UNWATCHED, AtWork, Watch, Watched

FGSM = "\n  - {id: fgsm}\n"
SQUARE = "\n  - {id: fgsm}\n  - {id: square, queries: 20}\n"


class Odd(torch.nn.Module):
    """A linear model that does something odd where the first feature is ``offset`` from ``value``."""

    def __init__(self, value: float, offset: float, way: str) -> None:
        super().__init__()
        self.value, self.offset, self.way = value, offset, way
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(4, 36, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = x.flatten(1)
        steps = torch.zeros(1)
        near = bool(((f[:, 0] - self.value).abs() - self.offset).abs().min() < 2e-5)
        if near and self.way == "raises":
            raise RuntimeError("not this one")
        if near and self.way == "grows":
            steps = torch.zeros(1000000000000000)
        while near and self.way == "hangs":
            steps = steps + 1
        if near and self.way == "waits":
            for _ in range(40):
                steps = steps + torch.randn(1000, 1000).mm(torch.randn(1000, 1000)).sum() * 0
        return (f - 0.5) @ self.weight.t() + 0 * steps


def first_features(data: Path) -> np.ndarray:
    with np.load(data) as arrays:
        found: np.ndarray = arrays["x"].reshape(len(arrays["x"]), -1)[:, 0]
    return found


def odd(folder: Path, way: str, sample: int, offset: float = 0.0, attacks: str = FGSM) -> tuple[Path, Path, Path]:
    """A model that is odd at a sample's first feature and ``offset``, data of 8 samples, and a profile."""
    data = make_data(folder / "d.npz", 8, wrong=0)
    module = torch.jit.script(Odd(float(first_features(data)[sample]), offset, way).eval())
    module.save(str(folder / "m.pt"))
    with np.load(data) as arrays:
        x = arrays["x"]
    weight = module.state_dict()["weight"].numpy()
    np.savez(data, x=x, y=((x.reshape(8, -1) - 0.5) @ weight.T).argmax(1))
    return folder / "m.pt", data, make_profile(folder / "p.yaml", attacks)


# What both sides of the memory say


@pytest.fixture
def pulse(tmp_path: Path) -> tuple[Watched, Path]:
    return Watched(tmp_path / "pulse"), tmp_path / "pulse"


def test_what_is_at_work_is_known_to_the_other_side(pulse: tuple[Watched, Path]) -> None:
    other, path = pulse
    watch = Watch(path, 1.0)
    assert other.at_work() == AtWork()
    with watch.about("it was measured", [3, 1, 3]):
        assert other.at_work() == AtWork("it was measured", ("number 1", "number 3"), (1, 3), 0.0)
        watch.call_samples(lambda index: f"cat{index}.png")
        with watch.about("fgsm ran", [7]), watch.call(2, "file"):
            assert other.at_work() == AtWork("fgsm ran", ("cat7.png",), (7,), 1.0, True)
            assert other.at_work().words == "on the sample cat7.png, while fgsm ran"
        assert other.at_work().words == "on one of 2 samples (number 1, number 3), while it was measured"
    with watch.about("x", range(10**6)):
        assert len(other.at_work().samples) > 1000
        assert other.at_work().words.endswith("cat7.png, …), while x")


def test_time_counts_within_one_call_only(pulse: tuple[Watched, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    other, path = pulse
    now = [100.0]
    monkeypatch.setattr("robaudit.target.running.watch.time.monotonic", lambda: now[0])
    watch = Watch(path, 2.0)

    def later(seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            now[0] += 0.5
            other.look()

    with watch.call(1, "file"):
        later(2.0)
        assert not other.overdue
        later(1.0)
        assert other.overdue
    other.look()
    assert not other.overdue
    later(100)
    assert not other.overdue  # nothing is at work
    for _ in range(5):
        with watch.call(1, "file"):
            later(1.0)
    assert not other.overdue
    with watch.call(1, "file"):
        other.look()
        now[0] += 3600  # this process was stopped, or the machine asleep
        other.look()
        assert not other.overdue
        now[0] -= 7200
        other.look()
        later(1.0)
        assert not other.overdue


def test_a_slow_model_gets_more_time(pulse: tuple[Watched, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    other, path = pulse
    watch = Watch(path, 2.0, first=30.0)
    clock = [0.0]
    monkeypatch.setattr("robaudit.target.running.watch.time.perf_counter", lambda: clock[0])

    def limit(rows: int, seconds: float, kind: str = "file") -> float:
        with watch.call(rows, kind):
            clock[0] += seconds
            return other.at_work().limit

    assert limit(1, 1.0) == 30.0  # it may compile
    assert limit(1, 1.0) == 20.0
    assert limit(8, 8.0) == 160.0
    assert limit(1, 0.001, "twin") == 30.0
    assert limit(1, 0.001, "twin") == 2.0
    assert limit(1, 0.0, "other") == 30.0


# A process of its own


def endless(watch: Watch = UNWATCHED) -> None:
    with watch.about("it was looked at", [3]), watch.call(1, "file"):
        re.match(r"(a+)+$", "a" * 64 + "b")  # lets no other Python code run


def test_a_call_that_never_ends_is_ended() -> None:
    begin = time.monotonic()
    with pytest.raises(AuditError, match=r"did not answer within 1 s on the sample number 3, while it was looked at"):
        in_child(endless, confinement=Confinement(call=1.0), about="m", watched=True)
    assert time.monotonic() - begin < 30


# What becomes of the worker


def after(again: Again, journal: Journal, **fields: object) -> Again | str:
    request = AuditRequest(model=Path("m.onnx"), profile=load_profile("quick"))
    return again.after(Ending(loaded=True, **fields), request, journal)  # type: ignore[arg-type]


def test_a_hang_costs_the_sample_once_it_is_known() -> None:
    journal = Journal(None)
    several = after(Again(), journal, hung=True, at_work=AtWork("fgsm ran", (), (1, 2, 3), 5.0))
    assert isinstance(several, Again)
    assert (several.suspects, several.halved) == (frozenset({1, 2, 3}), False)
    assert not journal.records
    one = after(several, journal, hung=True, at_work=AtWork("fgsm ran", ("b.png",), (2,), 5.0))
    assert isinstance(one, Again)
    assert one.suspects == {1, 3}
    (lost,) = journal.of(LostSample)
    assert (lost.sample, lost.name) == (2, "b.png")
    assert "did not answer within 5 s on the sample b.png" in lost.message
    assert isinstance(after(one, journal, hung=True, at_work=AtWork("fgsm ran", ("b.png",), (2,), 5.0)), str)
    assert comes_back(journal.records)


def test_what_hangs_without_end_ends_the_audit() -> None:
    journal, again = Journal(None), Again()
    for sample in range(MOST):
        decided = after(again, journal, hung=True, at_work=AtWork("", (f"{sample}",), (sample,), 5.0))
        assert isinstance(decided, Again)
        again = decided
    assert "none is started again" in str(after(again, journal, hung=True, at_work=AtWork("", ("x",), (99,), 5.0)))


def test_a_crash_is_treated_as_a_hang_and_a_kill_is_not() -> None:
    journal = Journal(None)
    crash = {"crashed": True, "how": "PyTorch crashed (SIGSEGV)", "at_work": AtWork("fgsm ran", ("a",), (1,))}
    assert isinstance(after(Again(), journal, **crash), Again)
    assert "PyTorch crashed (SIGSEGV) on the sample a" in next(journal.of(LostSample)).message
    killed = {"killed_from_outside": True, "how": "SIGKILL, likely out of memory", "at_work": AtWork("", ("b",), (2,))}
    halved = after(Again(), journal, **killed)
    assert isinstance(halved, Again)
    assert (halved.halved, len(list(journal.of(LostSample)))) == (True, 1)
    assert str(after(halved, journal, **killed)).endswith("twice")


def test_a_sample_that_takes_all_memory_alone_and_again_is_lost() -> None:
    journal = Journal(None)
    large = {"too_large": True, "how": "it took too much"}
    first = after(Again(), journal, **large, at_work=AtWork("", (), (1, 2)))
    assert isinstance(first, Again)
    assert (first.halved, first.suspects) == (True, {1, 2})
    second = after(first, journal, **large, at_work=AtWork("", ("b",), (2,)))
    assert isinstance(second, Again)
    assert [record.sample for record in journal.of(LostSample)] == [2]


def test_a_check_that_hangs_costs_itself() -> None:
    journal = Journal(None)
    assert isinstance(
        after(Again(), journal, hung=True, at_work=AtWork("it was checked for parity", part="parity")), Again
    )
    assert journal.last(CheckEnded, id="parity").failed.startswith("the check could not be carried out")
    assert comes_back(journal.records)
    assert isinstance(after(Again(), journal, hung=True, at_work=AtWork("its gradient was tried", (), ())), str)


# Whole audits


@pytest.mark.parametrize(("way", "why"), [("raises", "not this one"), ("grows", "allocate")])
def test_a_model_that_fails_on_an_input_costs_that_sample(tmp_path: Path, way: str, why: str) -> None:
    """At a clean sample; at a corner of its ball, in the middle of a batch, it costs that point alone."""
    model, data, profile = odd(tmp_path, way, 2, attacks=SQUARE)
    result = run_here(make_request(model, data, profile, trust_model=True), tmp_path / "clean")
    errors = {sample.index: sample.error for sample in result.samples if sample.error}
    assert list(errors) == [2]
    assert why in str(errors[2])
    assert {attack.status for attack in result.attacks} == {"done"}
    model, data, profile = odd(tmp_path, way, 2, 0.03, attacks=SQUARE)
    result = run_here(make_request(model, data, profile, trust_model=True), tmp_path / "corner")
    assert not [sample.error for sample in result.samples if sample.error]
    assert {attack.status for attack in result.attacks} == {"done"}
    (note,) = (note for note in result.run.notes if "the model failed on" in note)
    assert "fgsm " in note
    assert "which count as points that do not fool it" in note
    assert why in note


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 0.03])
def test_a_model_that_hangs_on_an_input_costs_that_sample(tmp_path: Path, offset: float) -> None:
    """On the clean sample; and at a corner of its ball, where only attacks come."""
    model, data, profile = odd(tmp_path, "hangs", 2, offset, attacks=SQUARE)
    options = ("--trust-model", "--call-timeout", "1", "--load-timeout", "90", "-f", "json")
    done = scan(model, data, profile, tmp_path / "run", *options, timeout=300)
    assert done.returncode == 3, done.stderr
    result = load(tmp_path / "run")
    (error,) = (error for error in result.errors if error.where == "model")
    assert error.sample == result.samples[2].id
    assert f"did not answer within 1 s on the sample {error.sample}" in error.message
    assert error.message in result.verdict.reasons
    assert [sample.index for sample in result.samples if sample.error] == [2]
    assert {attack.status for attack in result.attacks} == {"done"}
    assert result.run.failed is None
    assert result.evidence.count > 0
    assert not [record for record in records(tmp_path / "run", "unit") if record["sample"] != 2 and record["error"]]
    assert json.loads(done.stdout)["verdict"]["exit_code"] == 3


@pytest.mark.slow
def test_an_interrupt_ends_a_model_that_hangs_at_once(tmp_path: Path) -> None:
    model, data, profile = odd(tmp_path, "hangs", 2)
    process = start(model, data, profile, tmp_path / "run", "--trust-model")
    wait_for(lambda: records(tmp_path / "run", "session") or records(tmp_path / "run", "target"), 90)
    time.sleep(5)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - begin < 20
    assert process.returncode == 130, told
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_crash_costs_the_sample_alone(tmp_path: Path) -> None:
    model, data, profile = odd(tmp_path, "waits", 2)
    options = ("--trust-model", "--batch-size", "1")
    process = start(model, data, profile, tmp_path / "run", *options)
    worker = worker_id(process)
    wait_for(lambda: len(records(tmp_path / "run", "clean")) == 2, 90)
    time.sleep(0.3)
    os.kill(worker, signal.SIGSEGV)
    _, told = process.communicate(timeout=200)
    result = load(tmp_path / "run")
    assert process.returncode == 3, told
    assert [error.sample for error in result.errors if error.where == "model"] == [result.samples[2].id]
    assert "SIGSEGV" in result.errors[0].message
    assert result.run.failed is None


@pytest.mark.slow
def test_the_time_budget_has_a_hard_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 1.0)
    model, data, profile = odd(tmp_path, "hangs", 2)
    request = make_request(model, data, profile, trust_model=True, call_timeout=0.0, load_timeout=0.0, time_budget=8.0)
    begin = time.monotonic()
    with pytest.raises(AuditError, match="the audit went on for more than 1 s after its time budget"):
        run_audit(request, tmp_path / "run", lambda _: None)
    assert time.monotonic() - begin < 30
