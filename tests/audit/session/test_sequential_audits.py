"""Sequential audits of real, tiny models: they stop early, run to the end, resume, and are reported."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from command_line import Command
from run_kit import (
    load,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    outcome,
    records,
    run_here,
    scan,
    scan_command,
    start,
    wait_for,
)

from robaudit.audit.config.profile import GateSpec, RadiusSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.plan.validate import validate
from robaudit.audit.result.document import Result
from robaudit.audit.run.identity import identity_of
from robaudit.audit.verdict.conclusion import conclude
from robaudit.cli.preview import outline
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.errors import UsageError
from robaudit.report.terminal import render_text
from robaudit.stats.looks import at_share, decide, design
from robaudit.stats.rates import interval

COUNT = 120
QUICK = "\n  - {id: apgd-ce, steps: 4}\n  - {id: square, queries: 10}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequential")
    make_onnx(folder / "m.onnx")
    make_data(folder / "d.npz", COUNT, wrong=6)
    return folder


@pytest.fixture
def asked(folder: Path, tmp_path: Path) -> Callable[..., AuditRequest]:
    """A request whose model stands at about 60 %, with gates and anything else that the profile is to hold."""

    def build(*gates: dict[str, Any], attacks: str = QUICK, more: str = "", **changes: Any) -> AuditRequest:
        path = make_profile(tmp_path / "p.yaml", attacks, eps=0.01)
        path.write_text(path.read_text() + more)
        profile = load_profile(str(path))
        specs = tuple(GateSpec.model_validate(gate) for gate in gates)
        profile = profile.model_copy(update={"gates": (*profile.gates, *specs)})
        changes = {"until_decided": True, "profile": profile} | changes
        return make_request(folder / "m.onnx", folder / "d.npz", path, **changes)

    return build


FIGURES = attrgetter("id", "status", "attempted", "broken", "newly_broken", "queries", "forwards", "median_distance")
LOW = {"metric": "robust_accuracy", "min": 0.2}
NEAR = {"metric": "robust_accuracy", "min": 0.6}
HIGH = {"metric": "robust_accuracy", "min": 0.95}


def agrees(result: Result) -> None:
    """Everything is of the audited samples, and the gates are decided as the last look decided them."""
    found = result.sequential
    assert found is not None
    assert found.samples == result.data.drawn == len(result.samples) == found.looks[-1].samples
    assert list(found.planned) == list(design(found.most).sizes)
    assert [look.samples for look in found.looks] == list(found.planned[: len(found.looks)])
    assert not any("ended before" in (sample.error or "") for sample in result.samples)
    final = {gate.metric: gate.status for gate in result.gates}
    words = {"pass": "pass", "fail": "fail", "open": "inconclusive"}
    for gate in found.looks[-1].gates:
        assert final[gate.metric] == words[gate.decision]
    worst = result.worst_case.upper_bound_observed
    broken = sum(sample.broken_by is not None for sample in result.samples)
    correct = sum(sample.clean_prediction == sample.label for sample in result.samples)
    assert (worst.k, worst.n) == (correct - broken, found.samples)
    rates = [worst, *(t.upper_bound_observed for t in result.threats), *(p for c in result.curves for p in c.points)]
    rates += [a.cumulative_robust_accuracy for a in result.attacks if a.cumulative_robust_accuracy]
    for rate in rates:
        assert (rate.low, rate.high) == interval(rate.k, rate.n, at_share(0.95, found.share))
    assert any("so that it holds although the data decided when to stop" in text for text in result.limitations)


def test_a_clear_case_stops_early_and_is_the_audit_of_a_smaller_draw(
    tmp_path: Path, asked: Callable[..., AuditRequest]
) -> None:
    result = run_here(asked(LOW), tmp_path / "run")
    agrees(result)
    found = result.sequential
    assert (found.stopped, found.most) == ("decided", COUNT)
    assert found.samples < COUNT / 2
    assert result.verdict.exit_code == 0
    assert len({r["id"] for r in records(tmp_path / "run", "check")}) == len(records(tmp_path / "run", "check")) == 2
    fixed = asked(LOW, until_decided=False)
    fewer = fixed.profile.model_copy(update={"data": fixed.profile.data.model_copy(update={"samples": found.samples})})
    other = run_here(asked(LOW, until_decided=False, profile=fewer), tmp_path / "fixed")
    assert other.sequential is None
    assert result.samples == other.samples
    assert result.evidence == other.evidence
    assert [FIGURES(attack) for attack in result.attacks] == [FIGURES(attack) for attack in other.attacks]
    assert "sequential" not in json.loads(other.to_json())
    assert json.loads(result.to_json())["sequential"]["stopped"] == "decided"
    text = " ".join(render_text(result).split())
    assert "Sequential audit, decided at look 1, 32 of at most 120 samples: robust_accuracy ≥ 0.2 kept." in text
    assert conclude(result, asked(LOW).profile.gates).gates == result.gates
    # a gate that is set afterwards is decided by the same rule
    later = conclude(result, [GateSpec(metric="robust_accuracy", min=0.5)]).gates[0]
    k, n = later.observed.k, later.observed.n
    words = {"pass": "pass", "fail": "fail", "open": "inconclusive"}
    assert later.status == words[decide(k, n, found.share, least=0.5)]


def test_a_clear_failure_stops_early(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    result = run_here(asked(HIGH, {"metric": "clean_accuracy", "min": 0.95}), tmp_path / "run")
    found = result.sequential
    assert (found.stopped, result.verdict.exit_code) == ("decided", 1)
    assert found.samples < COUNT / 2
    agrees(result)


def interrupted(asked: AuditRequest, run: Path, units: int) -> Result:
    return run_here(asked, run, stop=lambda: len(records(run, "unit")) >= units)


@pytest.mark.parametrize("more", ["", "curve: {rounds: 1, attacks: [{id: fmn, steps: 3}], search: {id: fgsm}}\n"])
def test_an_unclear_case_runs_to_the_end_and_resumes_to_the_same(
    tmp_path: Path, asked: Callable[..., AuditRequest], more: str
) -> None:
    request = asked(NEAR, more=more)
    whole = run_here(request, tmp_path / "whole")
    agrees(whole)
    assert whole.sequential.stopped == "exhausted"
    assert whole.sequential.samples == COUNT
    assert whole.verdict.exit_code == 4
    assert bool(whole.curves) == bool(more)
    counts = [len(records(tmp_path / "whole", "unit"))]
    for units in (60,) if more else (5, 60, 110):
        run = tmp_path / f"run{units}"
        part = interrupted(request, run, units)
        assert part.sequential.stopped == "interrupted"
        assert part.verdict.exit_code == 130
        if part.sequential.looks:
            assert part.sequential.samples == len(part.samples) == part.worst_case.upper_bound_observed.n
            assert {sample.error for sample in part.samples} == {None}
            assert all(attack.status == "done" for attack in part.attacks)
            assert part.evidence.count == sum(sample.broken_by is not None for sample in part.samples)
        assert outcome(run_here(request, run)) == outcome(whole)
        counts.append(len(records(run, "unit")))
    assert len(set(counts)) == 1  # nothing was done twice


def test_several_norms_with_a_gate_each(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    request = asked(LOW, {"metric": "robust_accuracy.l2", "min": 0.2}, attacks=" [{id: apgd-ce, steps: 4}]")
    threat = request.profile.threat.model_copy(update={"also": (RadiusSpec(norm="l2", eps="0.03"),)})
    request = asked(profile=request.profile.model_copy(update={"threat": threat}))
    result = run_here(request, tmp_path / "run")
    agrees(result)
    assert [gate.metric for gate in result.sequential.looks[-1].gates] == ["robust_accuracy", "robust_accuracy.l2"]
    assert result.sequential.looks[-1].gates[1].k == result.threats[1].upper_bound_observed.k
    assert {threat.upper_bound_observed.n for threat in result.threats} == {result.sequential.samples}


@pytest.mark.parametrize("goal", ["every", "class:1"])
def test_goals(tmp_path: Path, asked: Callable[..., AuditRequest], goal: str) -> None:
    request = asked({"metric": "robust_accuracy", "max": 0.9})
    threat = request.profile.threat.model_copy(update={"goal": goal, "eps": "0.02"})
    result = run_here(replace(request, profile=request.profile.model_copy(update={"threat": threat})), tmp_path / "run")
    last = result.sequential.looks[-1].gates[0]
    observed = result.worst_case.upper_bound_observed
    left_out = sum(sample.left_out is not None for sample in result.samples)
    assert (last.k, last.n) == (observed.k, observed.n)
    assert last.n == result.sequential.samples - left_out
    assert (left_out > 0) == (goal == "class:1")


def test_where_an_attack_is_unavailable_no_gate_passes_and_the_audit_still_ends(
    tmp_path: Path, asked: Callable[..., AuditRequest]
) -> None:
    result = run_here(asked(LOW, model=make_onnx(tmp_path / "f.onnx", extra="foreign")), tmp_path / "run")
    assert result.attacks[0].status == "unavailable"
    assert (result.sequential.stopped, result.sequential.looks[-1].gates[0].decision) == ("decided", "pass")
    assert [gate.status for gate in result.gates if gate.metric == "robust_accuracy"] == ["invalid"]
    assert result.verdict.exit_code == 3


def test_stability_and_attacks_that_mix_samples(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    attacks = " [{id: daa, steps: 2, restarts: 1}, {id: apgd-ce, steps: 4}]"
    request = asked({"metric": "stability", "min": 0.6}, attacks=attacks, reference="model")
    whole = run_here(request, tmp_path / "whole")
    agrees(whole)
    assert len(whole.sequential.looks) > 1
    assert [attack.status for attack in whole.attacks] == ["done", "done"]
    part = interrupted(request, tmp_path / "run", 40)
    assert part.sequential.stopped == "interrupted"
    assert outcome(run_here(request, tmp_path / "run")) == outcome(whole)


def test_an_attack_that_fails_at_one_look_is_told_and_tried_again(
    tmp_path: Path, asked: Callable[..., AuditRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_engine, calls = Engine.run, []

    def failing(self: Engine, job: Job, *arguments: Any) -> bool:
        calls.append(job.attack.id)
        if job.attack.id == "square" and calls.count("square") == 2:
            raise RuntimeError("the driver is gone")
        return run_engine(self, job, *arguments)

    monkeypatch.setattr(Engine, "run", failing)
    failed = run_here(asked(NEAR), tmp_path / "run")
    assert {a.id: a.status for a in failed.attacks} == {"apgd-ce": "done", "square": "failed"}
    assert "the driver is gone" in failed.attacks[1].reason
    assert failed.verdict.exit_code == 3
    monkeypatch.undo()
    assert outcome(run_here(asked(NEAR), tmp_path / "run")) == outcome(run_here(asked(NEAR), tmp_path / "whole"))


def test_what_names_the_run(asked: Callable[..., AuditRequest]) -> None:
    fixed = {identity_of(asked(gate, until_decided=False)).run_id for gate in (LOW, NEAR)}
    assert len(fixed) == 1  # gates do not decide what is measured
    assert len({identity_of(asked(gate)).run_id for gate in (LOW, NEAR)} | fixed) == 3  # here they do


def test_the_preview_says_when_it_looks(asked: Callable[..., AuditRequest]) -> None:
    assert "looks    at 32, 48, 72, 120 samples, until the gates are decided" in outline(asked(LOW))
    assert not any("looks" in line for line in outline(asked(LOW, until_decided=False)))
    with pytest.raises(UsageError, match="needs a gate"):
        validate(asked())


def test_the_setting_comes_from_everywhere(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    assert not resolve_settings({}, {}, model).settings.until_decided
    assert resolve_settings({}, {"ROBAUDIT_UNTIL_DECIDED": "true"}, model).settings.until_decided
    (tmp_path / "robaudit.yaml").write_text("until-decided: true\n")
    assert resolve_settings({}, {}, model).settings.until_decided


def test_the_command_refuses_an_audit_that_nothing_would_stop(folder: Path, tmp_path: Path, robaudit: Command) -> None:
    command = scan_command(folder / "m.onnx", folder / "d.npz", make_profile(tmp_path / "p.yaml"), tmp_path / "run")
    assert robaudit(*command[1:], "--until-decided") == (
        2,
        "",
        "robaudit: error: --until-decided needs a gate to decide: give --min-robust, or a gate on robust_accuracy\n",
    )


@pytest.mark.slow
def test_the_command_stopped_with_ctrl_c_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", QUICK.replace("queries: 10", "queries: 60"), eps=0.01)
    flags = ("--until-decided", "--min-robust", "0.6", "--batch-size", "4")
    whole = scan(folder / "m.onnx", folder / "d.npz", profile, tmp_path / "whole", *flags)
    assert whole.returncode == 4, whole.stderr
    run = tmp_path / "run"
    process = start(folder / "m.onnx", folder / "d.npz", profile, run, *flags)
    wait_for(lambda: records(run, "look"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    part = load(run)
    assert part.sequential.stopped == "interrupted"
    assert part.sequential.samples < COUNT
    again = scan(folder / "m.onnx", folder / "d.npz", profile, run, *flags)
    assert again.returncode == 4, again.stderr
    assert outcome(load(run)) == outcome(load(tmp_path / "whole"))
    once_more = scan(folder / "m.onnx", folder / "d.npz", profile, run, *flags)
    assert once_more.returncode == 4
    assert outcome(load(run)) == outcome(load(tmp_path / "whole"))
