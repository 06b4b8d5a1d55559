"""Audits with a goal: what is attacked, counted, kept and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from run_kit import (
    ALL,
    labels_only,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    outcome,
    predict,
    records,
    run_here,
    weights,
)

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.identity import identity_of
from robaudit.audit.verdict.gates import evaluate_gates
from robaudit.engine.units import sample_of
from robaudit.errors import UsageError
from robaudit.report.terminal import render_text

KINDS = ("random", "least-likely", "second-likely", "class:2", "given", "every", "every:2")
CHECKS = "[clean, zero-gradient, unbounded, black-over-white, evidence]"


def ask(folder: Path, goal: str, *, eps: float = 0.12, attacks: str = ALL, **changes: Any) -> AuditRequest:
    """A request on the kit's network with a class given for each sample."""
    folder.mkdir(exist_ok=True)
    data = make_data(folder / "d.npz", 16)
    arrays = dict(np.load(data))
    target = (arrays["y"] + 1 + np.arange(16) % 3) % 4
    target[5] = -1
    np.savez(data, **arrays, target=target)
    profile = make_profile(folder / "p.yaml", attacks, eps=eps, checks=CHECKS)
    profile.write_text(profile.read_text().replace("threat: {", f"threat: {{goal: '{goal}', "))
    return make_request(make_onnx(folder / "m.onnx"), data, profile, **changes)


def audit(folder: Path, goal: str, **how: Any) -> Result:
    return run_here(ask(folder, goal, **how), folder / "run")


def logits(x: np.ndarray) -> np.ndarray:
    w1, b1, w2, b2 = weights()
    return np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w1.T + b1) @ w2.T + b2


@pytest.mark.parametrize("goal", KINDS)
def test_every_kind_of_goal_through_an_audit(tmp_path: Path, goal: str) -> None:
    result = audit(tmp_path, goal)
    data = np.load(tmp_path / "d.npz")
    clean = logits(data["x"])
    statuses = {check.id: check.status for check in result.checks}
    assert {s for s in statuses.values() if s == "fail"} == set(), result.checks
    assert result.threat_model.goal == goal
    assert all(attack.goal == "targeted" for attack in result.attacks)
    for sample in result.samples:
        label, ranked = sample.label, [c for c in np.argsort(-clean[sample.index]) if c != sample.label]
        expected = {
            "least-likely": (ranked[-1],),
            "second-likely": (ranked[0],),
            "class:2": () if label == 2 else (2,),
            "given": () if sample.index == 5 else (int(data["target"][sample.index]),),
            "every": tuple(ranked),
            "every:2": tuple(ranked[:2]),
        }.get(goal, sample.targets)
        assert sample.targets == expected
        assert label not in sample.targets
        assert (sample.left_out is not None) == (sample.targets == ())
        assert set(sample.reached) <= set(sample.targets)
        assert bool(sample.reached) == (sample.broken_by is not None)
        if sample.broken_by is not None:
            assert sample.adversarial_prediction in sample.reached
    left_out = sum(s.left_out is not None for s in result.samples)
    assert (left_out > 0) == (goal in ("class:2", "given"))
    said = [note for note in result.data.notes if "left out" in note]
    assert len(said) == (left_out > 0)
    assert all(f"{left_out} of 16 samples" in note for note in said)
    worst = result.worst_case.robust_accuracy
    standing = [
        s for s in result.samples if s.left_out is None and s.clean_prediction == s.label and s.broken_by is None
    ]
    assert worst is not None
    assert (worst.k, worst.n) == (len(standing), 16 - left_out)
    assert result.clean.accuracy is not None
    assert (result.clean.accuracy.k, result.clean.accuracy.n) == (14, 16), "clean accuracy leaves nothing out"
    assert any(s.broken_by for s in result.samples), "an audit that breaks nothing would test nothing here"
    reached_pairs = [(s.index, c) for s in result.samples for c in s.reached]
    evidence = np.load(tmp_path / "run" / "evidence.npz")
    assert sorted(zip(evidence["index"].tolist(), evidence["target"].tolist(), strict=True)) == sorted(reached_pairs)
    assert np.array_equal(predict(evidence["adversarial"]), evidence["target"]), "the file answers what was sought"
    assert "targeted robust accuracy is at most" in result.verdict.headline.lower()
    assert result.threat_model.goal_words in result.verdict.headline
    assert sum(a.newly_broken for a in result.attacks) == len({i for i, _ in reached_pairs})
    pairs = result.worst_case.pairs
    assert (pairs is not None) == goal.startswith("every")
    if pairs is not None:
        tried = sum(len(s.targets) for s in result.samples if s.clean_prediction == s.label)
        assert (pairs.tried, pairs.reached) == (tried, len(reached_pairs))
        assert sum(a.pairs.reached for a in result.attacks if a.pairs) == pairs.reached
        assert f"{pairs.reached} of {tried} pairs" in result.verdict.headline


def test_every_class_breaks_what_an_untargeted_audit_breaks(tmp_path: Path) -> None:
    """Both are all wrong classes, so that neither may do much better, and a class alone breaks no more."""
    attacks = "\n  - {id: apgd-ce, steps: 30, restarts: 2}\n"
    left = {}
    for goal in ("untargeted", "every", "second-likely"):
        rate = audit(tmp_path / goal, goal, eps=0.06, attacks=attacks).worst_case.robust_accuracy
        assert rate is not None
        left[goal] = rate.k
    assert left["every"] <= left["untargeted"] < 14
    assert left["second-likely"] >= left["every"]


@pytest.mark.parametrize("goal", ["random", "every"])
def test_a_resumed_audit_ends_as_one_that_was_never_stopped(tmp_path: Path, goal: str) -> None:
    whole = audit(tmp_path / "a", goal, eps=0.05)
    request = ask(tmp_path / "b", goal, eps=0.05)
    folder = tmp_path / "b" / "run"
    for most in (6, 18):
        asked = iter(range(most))
        run_here(request, folder, stop=lambda asked=asked: next(asked, None) is None)
    assert 0 < len(records(folder, "unit")) < len(records(tmp_path / "a" / "run", "unit"))
    resumed = run_here(request, folder)
    assert resumed.run.resumed
    names = str(tmp_path / "a"), str(tmp_path / "b")
    assert outcome(resumed).replace(names[1], names[0]) == outcome(whole)


def test_goals_do_not_depend_on_the_order_of_the_data(tmp_path: Path) -> None:
    first = ask(tmp_path, "random")
    found = {s.index: (s.targets, s.broken_by, s.distance) for s in run_here(first, tmp_path / "one").samples}
    arrays = np.load(tmp_path / "d.npz")
    order = list(range(15, -1, -1))
    np.savez(tmp_path / "d.npz", **{name: arrays[name][order] for name in arrays.files})
    second = run_here(first, tmp_path / "two")
    assert {order[s.index]: (s.targets, s.broken_by, s.distance) for s in second.samples} == found


def test_runs_differ_by_goal(tmp_path: Path) -> None:
    goals = ("untargeted", "random", "class:1", "class:2", "every", "every:2")
    assert len({identity_of(ask(tmp_path, goal)).run_id for goal in goals}) == len(goals)


def test_the_records_of_several_goals_name_their_samples(tmp_path: Path) -> None:
    audit(tmp_path, "every:2", attacks="\n  - {id: fgsm}\n")
    assert {sample_of(r["sample"]) for r in records(tmp_path / "run", "unit")} == set(range(2, 16))
    assert len({r["sample"] for r in records(tmp_path / "run", "unit")}) == 28


def test_gates_judge_a_targeted_audit_alike(tmp_path: Path) -> None:
    result = audit(tmp_path, "class:2", eps=0.2)
    rate = result.worst_case.robust_accuracy
    assert rate is not None
    (gate,) = evaluate_gates([GateSpec(metric="robust_accuracy", min=0.999)], result, [])
    assert (gate.status, gate.observed) == ("fail", rate)


def test_stability_mode_with_a_goal(tmp_path: Path) -> None:
    result = audit(tmp_path, "second-likely", reference="model")
    assert result.worst_case.stability is not None
    assert result.verdict.headline.startswith("At most ")
    assert "of the inputs are not made to answer its likeliest wrong class under" in result.verdict.headline
    assert "no accuracy is claimed" in result.verdict.headline
    assert result.worst_case.stability.n == 16


def test_an_attack_without_a_targeted_form_is_skipped(tmp_path: Path) -> None:
    result = audit(tmp_path, "random", attacks="\n  - {id: deepfool}\n  - {id: fgsm}\n")
    assert [(a.status, a.reason) for a in result.attacks] == [("skipped", "it has no targeted form"), ("done", None)]


def test_labels_alone_rank_no_classes_but_may_be_driven_to_one(tmp_path: Path) -> None:
    request = ask(tmp_path, "second-likely", attacks="\n  - {id: hopskipjump, queries: 300}\n", eps=0.3)
    labels_only(request.model, hide=True)
    with pytest.raises(UsageError, match="ranks classes by scores, and the file returns labels only"):
        run_here(request, tmp_path / "run")
    request = ask(tmp_path, "random", attacks="\n  - {id: hopskipjump, queries: 300}\n", eps=0.3)
    labels_only(request.model, hide=True)
    result = run_here(request, tmp_path / "other")
    assert result.attacks[0].status == "done"
    broken = [s for s in result.samples if s.broken_by]
    assert broken
    assert all((s.adversarial_prediction,) == s.targets for s in broken)


def test_a_class_that_no_input_reaches_warns_and_withholds_nothing(tmp_path: Path) -> None:
    request = ask(tmp_path, "class:3", attacks="\n  - {id: fgsm}\n")
    model = onnx.load(request.model)
    last = next(array for array in model.graph.initializer if array.name == "b2")
    last.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 0, 0, -100], np.float32), "b2"))
    onnx.save(model, request.model)
    result = run_here(request, tmp_path / "run")
    (unbounded,) = [check for check in result.checks if check.id == "unbounded"]
    assert unbounded.status == "warn"
    assert " 0 of " in unbounded.message
    assert result.worst_case.robust_accuracy is not None


def test_a_report_says_what_was_sought(tmp_path: Path) -> None:
    result = audit(tmp_path, "class:2", classes=("ant", "bee", "cow", "doe"))
    text = " ".join(render_text(result, width=200, samples=True).split())
    assert "and wants each to be answered with the class 2 (cow)" in text
    assert "not made to answer the class 2 (cow)" in text
    assert "Targeted robust accuracy is at most" in text
    assert "left out: it is of the class asked for" in text
    assert "any wrong answer breaks at least as many" in text.replace("an attacker to whom ", "").replace(
        "is good ", ""
    )
    assert "audit with --goal untargeted too" in text
    text = " ".join(render_text(audit(tmp_path / "e", "every"), width=200, samples=True).split())
    assert " pairs " in text
    assert "Of all pairs of a sample and a class to answer" in text
    assert "of 3 classes reached" in text
