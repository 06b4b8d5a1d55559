"""Whole audits as a user runs them: killed, interrupted, refused, resumed, and rendered again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run_kit import (
    load,
    make_data,
    make_onnx,
    make_profile,
    make_script,
    outcome,
    records,
    scan,
    start,
    wait_for,
    worker_of,
)

pytestmark = pytest.mark.slow

SLOW = """
  - {id: fgsm}
  - {id: apgd-ce, steps: 10, restarts: 2}
  - {id: square, queries: 300}
  - {id: hopskipjump, queries: 200}
"""
CHECKS = "[clean, determinism, zero-gradient, unbounded, black-over-white, evidence]"


class Case:
    """A float64 model, its data, and a profile that keeps two cores busy for some seconds at batch 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = make_script(folder / "m.pt")
        self.data = make_data(folder / "d.npz")
        self.profile = make_profile(folder / "p.yaml", SLOW, eps=0.005, checks=CHECKS)

    def command(self, run: Path | str, *more: str) -> tuple[object, ...]:
        return self.model, self.data, self.profile, self.folder / run, "--batch-size", "1", *more


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def whole(case: Case) -> Path:
    """An unbroken run."""
    done = scan(*case.command("whole"))
    assert done.returncode == 0, done.stderr
    return case.folder / "whole"


def units(run: Path) -> int:
    return len(records(run, "unit"))


def in_square(run: Path) -> bool:
    return any(record["attack"] == "square" for record in records(run, "unit"))


def assert_equal_and_nothing_twice(run: Path, whole: Path) -> None:
    assert outcome(load(run)) == outcome(load(whole))
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(run, "unit")]
    assert len(keys) == len(set(keys))


def test_a_killed_worker_is_started_once_more_at_half_the_batch(case: Case, whole: Path) -> None:
    run = case.folder / "worker"
    process = start(case.model, case.data, case.profile, run, "--batch-size", "2")
    worker = worker_of(process)
    wait_for(lambda: in_square(run))
    os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert [record["size"] for record in records(run, "batch")] == [2, 1]
    result = load(run)
    assert any("half the batch" in note for note in result.run.notes)
    assert result.run.complete
    assert not result.run.resumed
    assert_equal_and_nothing_twice(run, whole)


def test_a_worker_killed_twice_ends_the_audit_with_what_is_done(case: Case, whole: Path) -> None:
    run = case.folder / "twice"
    process = start(*case.command(run))
    first = worker_of(process)
    wait_for(lambda: units(run) >= 3)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(records(run, "batch")) == 2)
    before = units(run)
    second = wait_for(lambda: (found := worker_of(process)) != first and found)
    wait_for(lambda: units(run) > before)
    os.kill(second, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 3, stderr
    assert "Traceback" not in stderr
    assert "killed (SIGKILL, likely out of memory) twice" in " ".join(stdout.split())
    result = load(run)
    assert result.run.failed
    status = {attack.id: attack.status for attack in result.attacks}
    assert list(status) == ["fgsm", "apgd-ce", "square", "hopskipjump"]
    assert status["hopskipjump"] == "not run"
    assert [g.status for g in result.gates if g.metric == "coverage"] == ["fail"]
    again = scan(*case.command(run))
    assert again.returncode == 0, again.stderr
    assert load(run).run.resumed
    assert_equal_and_nothing_twice(run, whole)


def test_a_killed_audit_takes_its_worker_along_and_is_taken_up_again(case: Case, whole: Path) -> None:
    run = case.folder / "audit"
    process = start(*case.command(run))
    worker = worker_of(process)
    wait_for(lambda: in_square(run))
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{worker}").exists(), seconds=5)
    assert not (run / "result.json").exists()
    again = scan(*case.command(run))
    assert again.returncode == 0, again.stderr
    assert_equal_and_nothing_twice(run, whole)
    first = records(run, "session")[0]["started"]
    assert load(run).run.started == first[: len("2025-01-01T00:00:00.000")] + first[-6:]


@pytest.mark.parametrize(("name", "signum"), [("int", signal.SIGINT), ("term", signal.SIGTERM), ("hup", signal.SIGHUP)])
def test_an_interrupt_reports_what_is_done(case: Case, whole: Path, name: str, signum: signal.Signals) -> None:
    run = case.folder / name
    inherited = signal.signal(signum, signal.default_int_handler)  # the tests may run under nohup
    try:
        process = start(*case.command(run))
    finally:
        signal.signal(signum, inherited)
    worker_of(process)
    wait_for(lambda: in_square(run))
    os.killpg(process.pid, signum)  # as a terminal does
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "so far at most" in stdout
    assert f"run directory: {run}" in stderr
    result = load(run)
    assert result.run.interrupted
    assert {a.id: a.status for a in result.attacks}["hopskipjump"] == "not run"
    again = scan(*case.command(run))
    assert again.returncode == 0, again.stderr
    assert_equal_and_nothing_twice(run, whole)


def test_a_second_interrupt_ends_at_once(case: Case) -> None:
    run = case.folder / "second"
    process = start(*case.command(run))
    worker = worker_of(process)
    wait_for(lambda: units(run) >= 3)
    os.kill(worker, signal.SIGSTOP)  # a worker that does not listen
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert not Path(f"/proc/{worker}").exists()
    assert load(run).run.interrupted


def test_a_hangup_that_the_caller_ignores_stops_nothing(case: Case, whole: Path) -> None:
    run = case.folder / "nohup"
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    try:
        process = start(*case.command(run))
    finally:
        signal.signal(signal.SIGHUP, handler)
    worker_of(process)
    wait_for(lambda: units(run) >= 3)
    os.killpg(process.pid, signal.SIGHUP)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert_equal_and_nothing_twice(run, whole)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.4])
def test_an_interrupt_at_the_start_leaves_no_traceback(case: Case, tmp_path: Path, delay: float) -> None:
    process = start(*case.command(tmp_path / "run"))
    worker_of(process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert len(stderr.splitlines()) <= 6


def test_two_audits_do_not_share_a_run_directory(case: Case) -> None:
    run = case.folder / "shared"
    process = start(*case.command(run))
    worker = worker_of(process)
    wait_for(lambda: units(run) >= 1)
    os.kill(worker, signal.SIGSTOP)  # however slow the others are
    for more in ((), ("--fresh",)):
        other = scan(*case.command(run, *more))
        assert other.returncode == 2
        assert other.stderr == f"robaudit: error: another robaudit is working in {run}; wait for it or use --run-dir\n"
    assert units(run) >= 1  # --fresh removed nothing
    os.kill(worker, signal.SIGKILL)
    process.kill()
    process.communicate()


def test_a_finished_run_is_rendered_again_without_compute(case: Case, whole: Path, tmp_path: Path) -> None:
    before = records(whole, "session")
    again = scan(*case.command(whole, "-o", str(tmp_path / "r.json")))
    assert again.returncode == 0, again.stderr
    assert records(whole, "session") == before
    assert outcome(load(whole)) == json_outcome(tmp_path / "r.json")
    shown = load(whole)
    day = shown.run.finished[:10]
    assert f"this audit was finished on {day} " in again.stderr
    assert f"finished on {day} " in " ".join(again.stdout.split())
    assert shown.run.shown_again is not None
    assert shown.run.command.endswith("r.json"), "the command that was typed, not the one that made it"
    gated = scan(*case.command(whole, "--min-robust", "0.99"))  # a gate is no part of what was computed
    assert gated.returncode in (1, 4)
    assert "robust_accuracy" in {gate["metric"] for gate in load(whole).profile.resolved["gates"]}
    assert records(whole, "session") == before
    scan(*case.command(whole))  # as the other tests expect it


def json_outcome(path: Path) -> str:
    from robaudit.audit.result.document import Result

    return outcome(Result.model_validate(json.loads(path.read_text())))


def test_changed_evidence_is_noticed(tmp_path: Path) -> None:
    arguments = quick(tmp_path)
    scan(*arguments)
    run = arguments[3]
    (run / "evidence.npz").write_bytes(b"something else")
    again = scan(*arguments)
    assert "evidence.npz is missing or was changed" in again.stderr


def quick(folder: Path, attacks: str = "\n  - {id: fgsm}\n", eps: float = 0.05) -> tuple[Path, Path, Path, Path]:
    return (
        make_onnx(folder / "m.onnx"),
        make_data(folder / "d.npz"),
        make_profile(folder / "p.yaml", attacks, eps=eps),
        folder / "run",
    )


def test_fresh_computes_again_and_other_data_is_refused(tmp_path: Path) -> None:
    model, data, profile, run = quick(tmp_path)
    first = scan(model, data, profile, run)
    assert first.returncode == 0, first.stderr
    other = make_data(tmp_path / "other.npz", 8)
    refused = scan(model, other, profile, run)
    assert refused.returncode == 2
    assert "holds another audit" in refused.stderr
    assert load(run).data.drawn == 16
    started = records(run, "session")[0]["started"]
    fresh = scan(model, data, profile, run, "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    assert len(records(run, "session")) == 1
    assert records(run, "session")[0]["started"] > started
    taken = scan(model, other, profile, run, "--fresh")
    assert taken.returncode == 0, taken.stderr
    assert load(run).data.drawn == 8


def test_a_refused_audit_does_not_occupy_the_run_directory(tmp_path: Path) -> None:
    model, data, profile, run = quick(tmp_path)
    np.savez(tmp_path / "bad.npz", x=np.zeros((3, 5, 5), np.float32), y=np.zeros(3, np.int64))
    refused = scan(model, tmp_path / "bad.npz", profile, run)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) <= 2
    good = scan(model, data, profile, run)
    assert good.returncode == 0, good.stderr


def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    model, data, profile, run = quick(tmp_path)
    run.mkdir()
    (run / "result.json").write_text("mine")
    refused = scan(model, data, profile, run, "--fresh")
    assert refused.returncode == 2
    assert "result.json that is of no audit" in refused.stderr
    assert (run / "result.json").read_text() == "mine"


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_a_run_directory_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    model, data, profile, _ = quick(tmp_path)
    (tmp_path / "file").write_text("")
    done = scan(model, data, profile, tmp_path / place)
    assert done.returncode == 2
    assert done.stderr.startswith("robaudit: error: the run directory ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(params=["16k", "28k"])  # full in the middle, and at the very end
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of a few pages."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", disk]).returncode
    ):
        pytest.skip("NOT TESTED on a full disk as a user runs it: mounting needs root")
    yield disk
    subprocess.run(["umount", "-l", disk])


def test_a_full_disk_still_gets_its_report(tmp_path: Path, small_disk: Path) -> None:
    model, data, profile, _ = quick(tmp_path, "\n  - {id: fgsm}\n  - {id: square, queries: 20}\n", eps=0.02)
    done = scan(model, data, profile, small_disk / "run", "-o", str(tmp_path / "r.json"))
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in " ".join(done.stdout.split())
    result = json.loads((tmp_path / "r.json").read_text())
    assert [a["status"] for a in result["attacks"]] == ["done", "done"]
    assert len(result["samples"]) == 16
    roomy = scan(model, data, profile, tmp_path / "run", "-o", str(tmp_path / "s.json"))
    assert roomy.returncode == 0, roomy.stderr
    assert json.loads((tmp_path / "s.json").read_text())["samples"] == result["samples"]


def test_quiet_says_the_verdict_and_verbose_every_sample(tmp_path: Path) -> None:
    arguments = quick(tmp_path)
    loud = scan(*arguments, "-v")
    assert loud.returncode == 0, loud.stderr
    assert all(f"d.npz[{i}]" in loud.stdout for i in range(16))
    quiet = scan(*arguments, "-q")
    assert quiet.returncode == 0
    assert len(quiet.stdout.splitlines()) == 1
    assert quiet.stderr == ""


BESIDE = (
    ("m/w.bin", None),
    ("m/preprocessor_config.json", '{"image_mean": [0.5], "image_std": [0.5]}'),
    ("m/processor_config.json", '{"image_processor": {"image_mean": [0.5]}}'),
    ("m/config.json", '{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}'),
    ("preprocessor_config.json", '{"image_mean": [0.5], "image_std": [0.5]}'),
    ("config.json", '{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}'),
    ("m/labels.txt", "a\nb\nc\nd\n"),
    ("m/e.classes.json", '["a", "b", "c", "d"]'),
)


def test_weights_in_another_file_and_words_beside_the_model_count(tmp_path: Path) -> None:
    import onnx

    from robaudit.audit.config.profile_files import load_profile
    from robaudit.audit.config.request import AuditRequest
    from robaudit.audit.run.identity import identity_of

    model, data, profile, _ = quick(tmp_path)
    whole, folder = onnx.load(model), tmp_path / "m"
    folder.mkdir()
    onnx.save(whole, folder / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)

    def run_id() -> str:
        return identity_of(AuditRequest(model=folder / "e.onnx", data=data, profile=load_profile(str(profile)))).run_id

    seen = [run_id()]
    for name, text in BESIDE:  # that it is there counts, and what it says
        path = tmp_path / name
        content = path.read_bytes() if text is None else text.encode()
        versions = [bytes([content[0] ^ 1]) + content[1:]] if text is None else [content, content + b" "]
        for version in versions:
            path.write_bytes(version)
            seen.append(run_id())
    assert len(set(seen)) == len(seen)
    (folder / "notes.txt").write_text("of no meaning")
    assert run_id() == seen[-1]


def test_names_that_were_changed_beside_the_model_are_those_of_the_result(tmp_path: Path) -> None:
    arguments = quick(tmp_path)
    names = tmp_path / "labels.txt"
    for listed in ("a b c d", "k l m n"):
        names.write_text("\n".join(listed.split()))
        assert scan(*arguments[:3], tmp_path / listed[0]).returncode == 0
        assert load(tmp_path / listed[0]).data.classes == tuple(listed.split())
    names.write_text("p\nq\nr\ns")
    again = scan(*arguments[:3], tmp_path / "k")
    assert again.returncode == 2
    assert "holds another audit" in again.stderr
