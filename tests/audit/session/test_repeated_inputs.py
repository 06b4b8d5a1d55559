"""Copies of one input are the evidence of one: in gates, looks, figures and comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_kit import CLASSES, SHAPE, changed, load, make_onnx, make_profile, make_request, predict, run_here, scan

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.result.document import Result
from robaudit.audit.verdict.comparable import differences
from robaudit.report.markdown import render
from robaudit.report.terminal import render_text

FAST = "\n  - {id: fgsm}\n"


def images(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return (0.5 + 0.2 * rng.normal(size=(count, *SHAPE))).clip(0.05, 0.95).astype(np.float32)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., AuditRequest]:
    """A request on given arrays; the ball is so small that what is answered correctly stands."""
    model = make_onnx(tmp_path / "m.onnx")
    profile = make_profile(tmp_path / "p.yaml", FAST, eps=1e-4)

    def build(x: Any, y: Any = None, *gates: dict[str, Any], samples: int | None = None, **changes: Any) -> Any:
        np.savez(tmp_path / "d.npz", x=x, y=predict(x) if y is None else y)
        found = load_profile(str(profile))
        specs = tuple(GateSpec.model_validate(gate) for gate in gates)
        data = found.data.model_copy(update={"samples": samples})
        found = found.model_copy(update={"gates": (*found.gates, *specs), "data": data})
        return changed(make_request(model, tmp_path / "d.npz", profile), profile=found, **changes)

    return build


def test_one_robust_image_many_times_decides_no_gate(tmp_path: Path) -> None:
    model, profile = make_onnx(tmp_path / "m.onnx"), make_profile(tmp_path / "p.yaml", FAST, eps=1e-4)
    x = np.repeat(images(1), 200, 0)
    np.savez(tmp_path / "d.npz", x=x, y=predict(x))
    done = scan(model, tmp_path / "d.npz", profile, tmp_path / "run", "--min-robust", "0.95")
    assert done.returncode == 4, done.stdout + done.stderr
    result = load(tmp_path / "run")
    worst = result.worst_case.upper_bound_observed
    assert (worst.k, worst.n) == (1, 1)
    assert (result.data.count, result.data.asked, result.data.drawn, result.data.repeats) == (200, 200, 1, 199)
    assert any("199 samples repeat inputs drawn before" in note for note in result.data.notes)
    assert "1 of 200 samples (199 more repeat inputs" in " ".join(done.stdout.split())
    assert "1 of 200 samples (199 more repeat inputs" in render(result)


def test_figures_are_those_of_the_distinct_inputs(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    x = images(30)
    gates = ({"metric": "robust_accuracy", "min": 0.5}, {"metric": "class.1.robust_accuracy", "min": 0.5})
    gates += ({"metric": "clean_accuracy", "min": 0.6},)
    y = predict(x)
    y[:6] = (y[:6] + 1) % CLASSES
    plain = run_here(asked(x, y, *gates), tmp_path / "plain")
    copies = run_here(asked(np.tile(x, (4, 1, 1, 1)), np.tile(y, 4), *gates), tmp_path / "copies")
    assert (copies.data.drawn, copies.data.repeats, copies.data.contradictions) == (30, 90, 0)
    assert copies.worst_case == plain.worst_case
    # Copies fill up the draw, and are no further evidence: the same share, the same interval
    assert any("counts once in robust accuracy and in every interval" in note for note in copies.data.notes)
    assert plain.clean.accuracy is not None
    assert copies.clean.accuracy is not None
    assert (copies.clean.accuracy.k, copies.clean.accuracy.n) == (4 * plain.clean.accuracy.k, 120)
    assert copies.clean.accuracy.low == pytest.approx(plain.clean.accuracy.low)
    assert copies.clean.accuracy.high == pytest.approx(plain.clean.accuracy.high)
    assert copies.clean.accuracy.effective == pytest.approx(30)
    for one, other in zip(plain.gates, copies.gates, strict=True):
        assert one.status == other.status
        if one.metric != "clean_accuracy":
            assert (one.message, one.observed) == (other.message, other.observed)
    assert plain.data.repeats == 0
    assert not any("repeat" in note for note in plain.data.notes)


def test_labels_that_contradict_each_other_are_told(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    x = np.tile(images(40), (2, 1, 1, 1))
    y = predict(x)
    y[40:] = (y[40:] + 1) % CLASSES  # of each input one label is right
    result = run_here(asked(x, y), tmp_path / "run")
    assert (result.data.drawn, result.data.repeats, result.data.contradictions) == (40, 40, 40)
    assert result.clean.accuracy is not None
    assert 8 < result.clean.accuracy.k < 32  # about half, as of all samples, and not all of the first or second
    assert any("40 inputs occur with different labels" in note for note in result.data.notes)
    own = run_here(asked(x, y, reference="model"), tmp_path / "own")
    assert own.data.contradictions == 0


def test_looks_are_of_distinct_inputs_and_read_no_further(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    x = images(60)[np.random.default_rng(1).integers(0, 60, 300)]
    distinct = len(np.unique(x, axis=0))
    clear, out_of_reach = ({"metric": "robust_accuracy", "min": bound} for bound in (0.3, 0.97))
    early = run_here(asked(x, None, clear, until_decided=True), tmp_path / "early")
    assert early.sequential is not None
    assert (early.sequential.stopped, early.data.drawn, early.data.asked) == ("decided", 32, 300)
    assert 0 < early.data.repeats < 40
    fixed = run_here(asked(x, None, clear, samples=32), tmp_path / "fixed")
    assert early.samples == fixed.samples

    whole = run_here(asked(x, None, out_of_reach, until_decided=True), tmp_path / "whole")
    found = whole.sequential
    assert found is not None
    assert found.stopped == "exhausted"
    assert [look.samples for look in found.looks] == [32, 48, distinct]
    assert (found.share, found.looks[-1].gates[0].n) == (0.5, distinct)
    assert sum(look.share for look in found.looks) <= 1
    assert (whole.data.drawn, whole.data.repeats, len(whole.samples)) == (distinct, 300 - distinct, distinct)
    assert any(f"the data hold {distinct} distinct inputs" in note for note in whole.data.notes)
    again = run_here(asked(x, None, out_of_reach, until_decided=True), tmp_path / "whole")
    assert again.samples == whole.samples
    assert again.data == whole.data


def test_one_input_alone_ends_at_its_first_look(tmp_path: Path, asked: Callable[..., AuditRequest]) -> None:
    x = np.repeat(images(1), 200, 0)
    result = run_here(asked(x, None, {"metric": "robust_accuracy", "min": 0.95}, until_decided=True), tmp_path / "run")
    assert result.sequential is not None
    assert (result.sequential.stopped, result.sequential.samples) == ("exhausted", 1)
    assert result.gates[-1].status == "inconclusive"
    assert "200 samples" in render_text(result)


def test_audits_of_the_same_data_are_comparable_wherever_they_ended(
    tmp_path: Path, asked: Callable[..., AuditRequest]
) -> None:
    x = images(50)[np.random.default_rng(1).integers(0, 50, 200)]
    gate = {"metric": "robust_accuracy", "min": 0.3}
    fixed = run_here(asked(x, None, gate), tmp_path / "fixed")
    early = run_here(asked(x, None, gate, until_decided=True), tmp_path / "early")
    assert early.data.drawn < fixed.data.drawn < 200
    assert list(differences(fixed, early)) == []
    assert list(differences(early, fixed)) == []
    assert Result.model_validate(json.loads(fixed.to_json())).data == fixed.data
