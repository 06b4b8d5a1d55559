"""Certificates are proved again in a replay, and a result that claims more than can be proved is caught."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from command_line import Command
from run_kit import make_data, make_onnx, make_profile, scan

from robaudit.audit.process.persist import GivenUp
from robaudit.audit.replay import proving
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.derive import derived
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.replay import replay_lines

ATTACKS = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 8}\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, and a run in which some samples were broken and some proved."""
    folder = tmp_path_factory.mktemp("finished")
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=0.01)
    told = scan(
        make_onnx(folder / "m.onnx"), make_data(folder / "m.npz", 16), profile, folder / "run", "--certify", "interval"
    )
    assert told.returncode == 0, told.stderr
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, with model and data beside it."""
    shutil.copytree(finished, tmp_path / "copy")
    marker = tmp_path / "copy" / "run" / MARKER
    marker.write_text(marker.read_text().replace(str(finished), str(tmp_path / "copy")))
    return marker.parent


def proved(result: Result) -> list[str]:
    return [sample.id for sample in result.samples if sample.proved("interval")]


def edited(run: Path, name: str, **changes: object) -> None:
    """The result as somebody might write it who claims more of a sample, all figures made to fit."""
    result = load_result(run / "result.json")
    samples = tuple(
        sample.model_copy(update={"certified": tuple(found.model_copy(update=changes) for found in sample.certified)})
        if sample.id == name
        else sample
        for sample in result.samples
    )
    save_result(conclude(derived(result.model_copy(update={"samples": samples})), []), run / "result.json")


def words(run: Path, **asked: object) -> str:
    return "\n".join(replay_lines(replay(ReplayRequest(run, **asked))))  # type: ignore[arg-type]


def test_what_was_proved_is_proved_again(run: Path) -> None:
    result = load_result(run / "result.json")
    count = len(proved(result))
    assert count > 0
    found = replay(ReplayRequest(run))
    assert found.proofs is not None
    assert (found.proofs.claimed, found.proofs.tried, found.proofs.held) == (count, count, count)
    assert (found.proofs.lost, found.proofs.reason, found.holds, found.exit_code) == ((), None, True, 0)
    assert words(run).endswith(f"All {count} proofs that were carried out again hold.")


def test_a_proof_that_was_never_found_is_caught(run: Path) -> None:
    result = load_result(run / "result.json")
    unproved = next(s for s in result.samples if s.stands and not s.proved("interval"))
    margin = unproved.certified[0].margin
    assert margin is not None
    assert margin < 0
    edited(run, unproved.id, proved=True, margin=0.5)
    found = replay(ReplayRequest(run))
    assert found.proofs is not None
    (lost,) = found.proofs.lost
    assert (lost.sample, lost.certificate, lost.status, lost.claimed) == (unproved.id, "interval", "not proved", 0.5)
    assert lost.margin == pytest.approx(margin, rel=1e-6)
    assert (found.fooled, found.holds, found.exit_code) == (found.count, False, 1)
    assert f"{unproved.id}, interval: not proved, margin 0.5 in the result" in words(run)


def test_a_margin_that_is_too_large_is_caught_and_a_smaller_one_is_not(run: Path) -> None:
    result = load_result(run / "result.json")
    name = proved(result)[0]
    margin = next(s for s in result.samples if s.id == name).certified[0].margin
    assert margin is not None
    edited(run, name, margin=margin * 0.9)
    assert replay(ReplayRequest(run)).holds
    edited(run, name, margin=margin * 1.1)
    found = replay(ReplayRequest(run))
    assert found.proofs is not None
    assert [(lost.sample, lost.status) for lost in found.proofs.lost] == [(name, "smaller margin")]
    assert found.exit_code == 1


def test_other_data_and_data_that_are_gone_prove_nothing_again(run: Path) -> None:
    def refused(**asked: object) -> str:
        found = replay(ReplayRequest(run, **asked))  # type: ignore[arg-type]
        assert found.proofs is not None
        assert (found.proofs.tried, found.exit_code) == (0, 0)
        assert "The certificates were not proved again." in words(run, **asked)
        return found.proofs.reason or ""

    data = run.parent / "m.npz"
    other = make_data(run.parent / "other.npz", 16, wrong=3)
    assert "are not those of the audit" in refused(data=other)
    moved = data.rename(run.parent / "moved.npz")
    assert "m.npz" in refused()
    assert replay(ReplayRequest(run, data=moved)).proofs.tried > 0  # type: ignore[union-attr]


def test_where_torch_is_missing_or_the_model_crashed_the_reason_is_told(run: Path, monkeypatch) -> None:
    crashed = replay(ReplayRequest(run), GivenUp(parts={"proofs": "the model crashed"}))
    assert crashed.proofs is not None
    assert (crashed.proofs.tried, crashed.proofs.reason, crashed.holds) == (0, "the model crashed", True)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name, *more))
    without = replay(ReplayRequest(run))
    assert without.proofs is not None
    assert (without.proofs.tried, without.holds) == (0, True)
    assert "PyTorch" in (without.proofs.reason or "")


def test_proofs_end_in_time_unless_all_are_asked_for(run: Path, monkeypatch) -> None:
    monkeypatch.setattr(proving, "SECONDS", -1.0)
    found = replay(ReplayRequest(run)).proofs
    assert found is not None
    assert (found.tried, found.claimed > 0) == (0, True)
    assert "--all-proofs" in (found.reason or "")
    everything = replay(ReplayRequest(run, all_proofs=True)).proofs
    assert everything is not None
    assert (everything.tried, everything.reason) == (found.claimed, None)


def test_the_command_says_so(run: Path, robaudit: Command) -> None:
    told = robaudit("replay", run)
    assert (told.code, told.err) == (0, "")
    assert "carried out again hold" in told.out
    result = load_result(run / "result.json")
    edited(run, next(s.id for s in result.samples if s.stands and not s.proved("interval")), proved=True, margin=0.5)
    told = robaudit("replay", run, "--format", "json")
    assert told.code == 1
    found = json.loads(told.out)["proofs"]
    assert (found["claimed"] - found["held"], [lost["status"] for lost in found["lost"]]) == (1, ["not proved"])
