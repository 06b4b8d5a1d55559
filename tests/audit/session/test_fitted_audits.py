"""Audits with a universal perturbation, from the plan to the replay."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_kit import (
    load,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    outcome,
    predict,
    records,
    run_here,
    scan,
    start,
    wait_for,
)

from robaudit.audit.config.gatespecs import GateSpec, parse_gate
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AttackEnded, FitRound
from robaudit.audit.plan.fronts import validate_curve
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import parse_result, save_result
from robaudit.audit.stored.verify import verified
from robaudit.errors import UsageError
from robaudit.report.replay import replay_lines
from robaudit.report.sentences import attack_notes

UAP = "{id: sgd-uap, fit_samples: 30, fit_least: 12, epochs: 5, minibatch: 10}"
AFTER = f"\n  - {{id: pgd, steps: 1, step_size: 0.5, random_start: false}}\n  - {UAP}\n  - {{id: apgd-ce, steps: 5}}\n"
EPS = 0.035


class Case:
    """A float64 network, 60 samples, of which 24 are audited."""

    def __init__(self, folder: Path, attacks: str = AFTER, **changes: Any) -> None:
        self.folder = folder
        self.model = make_script(folder / "m.pt")
        self.data = make_data(folder / "d.npz", 60)
        self.profile = make_profile(folder / "p.yaml", attacks, eps=EPS)
        self.request = make_request(self.model, self.data, self.profile)
        data = self.request.profile.data.model_copy(update={"samples": 24})
        profile = self.request.profile.model_copy(update={"data": data})
        self.request = dataclasses.replace(self.request, profile=profile, **changes)

    def run(self, name: str = "run", **more: Any) -> Result:
        return run_here(self.request, self.folder / name, **more)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("uap"))


@pytest.fixture(scope="module")
def whole(case: Case) -> Result:
    return case.run("whole")


def by_id(result: Result) -> dict[str, Any]:
    return {attack.id: attack for attack in result.attacks}


def test_it_is_tried_on_every_correct_sample_and_counts_in_the_cascade(case: Case, whole: Result) -> None:
    attacks, (fit,) = by_id(whole), whole.fits
    correct = [s.index for s in whole.samples if s.correct]
    uap = attacks["sgd-uap"]
    assert (uap.status, uap.attempted, uap.broken) == ("done", len(correct), len(fit.fooled))
    assert set(fit.fooled) & {s.index for s in whole.samples if s.broken_by == "pgd"}
    assert 0 < uap.newly_broken < len(fit.fooled)
    assert uap.newly_broken == sum(s.broken_by == "sgd-uap" for s in whole.samples)
    assert uap.rate_alone.k == len(correct) - len(fit.fooled)
    assert uap.rate_alone.n == len(whole.samples)
    assert attacks["apgd-ce"].attempted == len(correct) - attacks["pgd"].broken - uap.newly_broken
    assert (uap.forwards, uap.backwards) == (len(correct), 0)
    assert (fit.samples, fit.rounds, fit.of, fit.forwards, fit.backwards) == (30, 5, 5, 150, 150)


def test_the_artefact_is_what_fooled_them_and_is_kept(case: Case, whole: Result) -> None:
    (fit,) = whole.fits
    with np.load(case.folder / "whole" / whole.evidence.path) as kept:
        assert fit.arrays == {"artefact/sgd-uap/perturbation": (1, 6, 6)}
        delta = kept["artefact/sgd-uap/perturbation"]
        mine = kept["attack"] == "sgd-uap"
        points, origins = kept["adversarial"][mine], kept["original"][mine]
    assert np.abs(delta).max() == pytest.approx(EPS)
    with np.load(case.data) as data:
        x, y = data["x"], data["y"]
    fooled = [
        s.index for s in whole.samples if s.correct and predict((x[s.index] + delta).clip(0, 1)[None])[0] != y[s.index]
    ]
    assert list(fit.fooled) == fooled
    assert points == pytest.approx((origins + delta).clip(0, 1), abs=1e-7)


def test_the_audited_samples_have_no_part_in_the_fit(case: Case, whole: Result, tmp_path: Path) -> None:
    """Other labels of audited samples, and other pixels of one: the perturbation is the same to the bit."""
    with np.load(case.data) as data:
        x, y = data["x"].copy(), data["y"].copy()
    first = whole.samples[5].index
    x[first] = 1 - x[first]
    y[[s.index for s in whole.samples]] = 0
    np.savez(tmp_path / "d.npz", x=x, y=y)
    run_here(dataclasses.replace(case.request, data=tmp_path / "d.npz"), tmp_path / "run")
    assert fits_of(tmp_path / "run")[-1].point.sha256 == fits_of(case.folder / "whole")[-1].point.sha256


def fits_of(folder: Path) -> list[FitRound]:
    journal = Journal(folder)
    journal.load()
    return list(journal.of(FitRound))


def test_equal_at_any_batch_size(case: Case, whole: Result, tmp_path: Path) -> None:
    one = run_here(dataclasses.replace(case.request, batch_size=1), tmp_path / "one")
    assert outcome(one) == outcome(whole)


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_stopped_in_the_fit_and_resumed_it_comes_to_the_same(
    case: Case, whole: Result, tmp_path: Path, rounds: int
) -> None:
    journal = Journal(tmp_path)
    seen = itertools.count()

    def stop() -> bool:
        done = sum(1 for _ in journal.of(FitRound))
        began = journal.last(AttackEnded, id="pgd") is not None
        return began and done >= rounds and next(seen) > 1

    broken = run_here(case.request, tmp_path, stop=stop, journal=journal)
    assert by_id(broken)["sgd-uap"].status in ("partial", "not run")
    assert len(fits_of(tmp_path)) in (rounds, rounds + 1)
    again = run_here(case.request, tmp_path)
    assert len(fits_of(tmp_path)) == 5  # nothing twice
    assert outcome(again) == outcome(whole)


def test_a_torn_artefact_is_fitted_again(case: Case, whole: Result, tmp_path: Path) -> None:
    case.run("torn")
    folder = case.folder / "torn"
    place = fits_of(folder)[2].point
    content = bytearray((folder / "points.bin").read_bytes())
    content[place.offset + place.bytes // 2] ^= 1
    (folder / "points.bin").write_bytes(content)
    assert outcome(case.run("torn")) == outcome(whole)


@pytest.mark.slow
def test_killed_in_the_fit_it_goes_on_after_the_last_round(tmp_path: Path) -> None:
    long = UAP.replace("epochs: 5", "epochs: 60")
    case = Case(tmp_path, f"\n  - {long}\n")
    command = (case.model, case.data, case.profile)
    more = ("--samples", "24", "--batch-size", "1")
    unbroken = scan(*command, tmp_path / "a", *more)
    assert unbroken.returncode == 0, unbroken.stderr
    process = start(*command, tmp_path / "b", *more)
    wait_for(lambda: len(records(tmp_path / "b", "fit")) > 8)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    rounds = len(records(tmp_path / "b", "fit"))
    assert 8 < rounds < 60
    assert scan(*command, tmp_path / "b", *more).returncode == 0
    assert [r["round"] for r in records(tmp_path / "b", "fit")] == list(range(1, 61))
    assert outcome(load(tmp_path / "b")) == outcome(load(tmp_path / "a"))


def test_too_few_others_make_it_unavailable_and_a_gate_on_it_fails(case: Case, tmp_path: Path) -> None:
    data = case.request.profile.data.model_copy(update={"samples": 50})
    profile = case.request.profile.model_copy(update={"data": data})
    uap = by_id(run_here(dataclasses.replace(case.request, profile=profile), tmp_path / "few"))["sgd-uap"]
    assert uap.status == "unavailable"
    assert uap.reason == (
        "it fits on at least 12 samples apart from the audited ones, and the data hold 10 (give more data, or audit "
        "fewer: --samples)"
    )
    data = data.model_copy(update={"samples": None})
    profile = profile.model_copy(update={"data": data})
    result = run_here(dataclasses.replace(case.request, profile=profile), tmp_path / "none")
    assert "the data hold none" in by_id(result)["sgd-uap"].reason
    assert result.fits == ()
    assert "fits" not in json.loads(result.to_json())
    assert next(g.status for g in result.gates if g.metric == "coverage") == "fail"


def test_copies_of_audited_inputs_are_not_fitted_on(case: Case, tmp_path: Path) -> None:
    with np.load(case.data) as data:
        x, y = data["x"], data["y"]
    np.savez(tmp_path / "d.npz", x=np.concatenate([x[:24]] * 3), y=np.concatenate([y[:24]] * 3))
    result = run_here(dataclasses.replace(case.request, data=tmp_path / "d.npz"), tmp_path / "run")
    assert by_id(result)["sgd-uap"].status == "unavailable"


def test_a_gate_reads_its_rate_over_all_samples(case: Case, tmp_path: Path, whole: Result) -> None:
    share = by_id(whole)["sgd-uap"].broken / by_id(whole)["sgd-uap"].attempted
    for bound, status in ((share - 0.01, {"fail", "inconclusive"}), (1.0, {"pass"})):
        gate = GateSpec.model_validate(parse_gate(f"attack.sgd-uap.success_rate<={bound}"))
        profile = case.request.profile.model_copy(update={"gates": (gate,)})
        result = run_here(dataclasses.replace(case.request, profile=profile), tmp_path / str(bound))
        assert result.gates[0].status in status
        assert result.gates[0].observed.estimate == pytest.approx(share)


def test_the_limitation_follows_from_what_ran(case: Case, whole: Result, tmp_path: Path) -> None:
    (told,) = [text for text in whole.limitations if text.startswith("not tested")]
    assert "spatial and patch perturbations, and" in told
    assert "universal" not in told
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", eps=EPS)
    plain = run_here(make_request(case.model, case.data, profile), tmp_path / "run")
    (told,) = [text for text in plain.limitations if text.startswith("not tested")]
    assert "spatial, patch and universal perturbations, and" in told


def test_reports_tell_of_the_fit(whole: Result) -> None:
    (note,) = [note for note in attack_notes(whole) if note.startswith("sgd-uap")]
    assert note.startswith("sgd-uap: fitted on 30 other samples in 5 rounds (150 forwards, 150 backwards, ")
    uap = by_id(whole)["sgd-uap"]
    assert f"tried on every sample answered correctly, it fools {uap.broken / uap.attempted:.1%}" in note


def test_its_evidence_replays_and_names_the_artefact(case: Case, whole: Result) -> None:
    run = case.folder / "whole"
    save_result(whole, run / "result.json")
    (run / MARKER).write_text(json.dumps({"run": whole.run.id, "model": str(case.model)}))
    found = replay(ReplayRequest(run=run))
    assert found.holds
    assert found.count == whole.evidence.count
    assert any("artefact/sgd-uap/perturbation, 1x6x6" in line for line in replay_lines(found))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fooled": ()}, "broke the sample"),
        ({"fooled": (10_000,)}, "does not have"),
        ({"attack": "uap"}, "fit of uap, which the audit does not have"),
        ({"rounds": 9}, "9 of 5 rounds"),
    ],
)
def test_a_fit_that_cannot_be_true_is_refused(whole: Result, change: dict[str, Any], words: str) -> None:
    (fit,) = whole.fits
    false = whole.model_copy(update={"fits": (fit.model_copy(update=change),)})
    with pytest.raises(UsageError, match=words):
        verified(parse_result(false.to_json(), "it"), "it")


def test_a_float32_onnx_file(tmp_path: Path) -> None:
    case = Case(tmp_path)
    model = make_onnx(tmp_path / "m.onnx")
    result = run_here(dataclasses.replace(case.request, model=model), tmp_path / "run")
    assert by_id(result)["sgd-uap"].status == "done"
    assert result.fits[0].fooled


def test_a_curve_takes_it_for_the_cascade_alone(case: Case, tmp_path: Path) -> None:
    text = case.profile.read_text()
    for part, words in (
        ("search: {id: sgd-uap}", "fitted at one radius"),
        ("attacks: [{id: sgd-uap}]", "fixed radius"),
    ):
        (tmp_path / "p.yaml").write_text(f"{text}curve: {{{part}}}\n")
        with pytest.raises(UsageError, match=words):
            validate_curve(load_profile(str(tmp_path / "p.yaml")))
    (tmp_path / "p.yaml").write_text(f"{text}curve: {{rounds: 2}}\n")
    profile = load_profile(str(tmp_path / "p.yaml"))
    profile = profile.model_copy(update={"data": case.request.profile.data})
    result = run_here(dataclasses.replace(case.request, profile=profile), tmp_path / "run")
    assert by_id(result)["sgd-uap"].status == "done"
    assert by_id(result)["sgd-uap"].broken == len(result.fits[0].fooled) > 0


def test_others_that_cannot_be_used_are_skipped_and_too_few_fail_the_attack_alone(case: Case, tmp_path: Path) -> None:
    audited = {s.index for s in run_here(case.request, tmp_path / "all").samples}
    others = [i for i in range(60) if i not in audited]
    for spoilt, expected in ((others[:20], "done"), (others, "failed")):
        with np.load(case.data) as data:
            x, y = data["x"].copy(), data["y"]
        x[spoilt, 0, 0, 0] = np.nan
        np.savez(tmp_path / "d.npz", x=x, y=y)
        result = run_here(dataclasses.replace(case.request, data=tmp_path / "d.npz"), tmp_path / expected)
        uap = by_id(result)["sgd-uap"]
        assert uap.status == expected
        assert by_id(result)["apgd-ce"].status == "done"
        if expected == "done":
            assert 12 <= result.fits[0].samples < 30
        else:
            assert uap.reason == "the model answers 0 of the 30 samples to fit on, and at least 12 are needed"
