"""Audits that measure the price of secrecy, against the lines of their journals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_kit import Stopper, linear, near_the_middle, profile, recomputed
from run_kit import (
    labels_only,
    load,
    make_data,
    make_onnx,
    make_request,
    outcome,
    records,
    run_here,
    scan,
    start,
    wait_for,
)

from robaudit.audit.result.document import Result, content_digest
from robaudit.audit.stored.file import parse_result
from robaudit.engine.units import sample_of
from robaudit.errors import UsageError
from robaudit.report.secrecy import secrecy_sentences
from robaudit.stats.rates import interval


def audited(
    tmp_path: Path, more: str, attacks: str = "[fgsm]", norm: str = "linf", eps: float = 0.05, **changes: Any
) -> Result:
    """An audit of a linear model of two classes; two of its 14 samples are answered wrongly."""
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"))
    path = profile(tmp_path / "p.yaml", norm, more, attacks, eps)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=5, **changes)
    return run_here(request, tmp_path / "run")


def stands(curve: Any) -> list[tuple[int, int]]:
    return [(point.queries, point.k) for point in curve.points]


def test_the_curves_of_an_audit_follow_from_the_units_of_its_journal(tmp_path: Path) -> None:
    result = audited(tmp_path, "secrecy: {queries: 120}", eps=0.02)
    run = tmp_path / "run"
    [secrecy] = result.secrecy
    labels, scores, white = secrecy.curves
    by_labels = recomputed(run, ["labels/rays"])
    by_scores = recomputed(run, ["scores/square"])
    assert 0 < len(by_labels) < 12
    assert 0 < len(by_scores) <= 12
    least = {i: min(found[i] for found in (by_labels, by_scores) if i in found) for i in by_labels | by_scores}
    for curve, fell in ((labels, by_labels), (scores, least)):
        assert stands(curve) == [(q, 12 - sum(t <= q for t in fell.values())) for q, _ in stands(curve)]
        assert {q for q, _ in stands(curve)} == {0, 1, 2, 5, 10, 20, 50, 100, 120, *fell.values()}
        censored = [fell.get(i, 120) for i in range(2, 14)]
        assert curve.mean_queries == pytest.approx(np.mean(censored))
        middle = float(np.median([fell.get(i, np.inf) for i in range(2, 14)]))
        assert curve.median_queries == (None if np.isinf(middle) else middle)
    assert stands(white) == [(0, result.worst_case.upper_bound_observed.k)]
    assert white.queries is None
    budgets = {a.id: a.query_budget for a in result.attacks}
    assert budgets == {"fgsm": None, "transfer/transfer-mi-fgsm": 1, "labels/rays": 120, "scores/square": 120}
    assert {a.id: a.attempted for a in result.attacks if a.ran} == {"fgsm": 12, "labels/rays": 12, "scores/square": 12}
    assert {a.id: a.status for a in result.attacks}["transfer/transfer-mi-fgsm"] == "skipped"  # no surrogate
    assert result.verdict.exit_code == 0


def test_what_only_an_access_of_its_own_breaks_is_broken_with_evidence(tmp_path: Path) -> None:
    more = "secrecy: {queries: 300, labels: [rays], scores: []}"
    result = audited(tmp_path, more, "[{id: square, queries: 1}]", eps=0.3)
    assert {s.broken_by for s in result.samples[2:]} <= {"square", "labels/rays", None}
    alone = [s for s in result.samples if s.broken_by == "labels/rays"]
    assert alone
    assert result.evidence.count == sum(s.broken_by is not None for s in result.samples)
    assert {c.id: c.status for c in result.checks}["evidence"] == "pass"
    last = result.attacks[-1]
    assert (last.id, last.newly_broken) == ("labels/rays", len(alone))
    assert last.cumulative_robust_accuracy == result.worst_case.upper_bound_observed
    assert last.broken == sum(any(p.attack == "labels/rays" for p in s.prices) for s in result.samples)
    assert last.rate_alone is not None
    assert last.rate_alone.k == 12 - last.broken


def test_with_scores_alone_in_the_cascade_their_curve_is_shown_without_asking(tmp_path: Path) -> None:
    result = audited(tmp_path, "", "[{id: square, queries: 50}]", eps=0.02)
    [curve] = result.secrecy[0].curves
    assert (curve.access, curve.main, curve.queries) == ("scores", True, 50)
    fell = recomputed(tmp_path / "run", ["square"])
    assert len(fell) > 0
    assert stands(curve)[-1] == (50, 12 - len(fell))
    assert [a.id for a in result.attacks] == ["square"]
    (tmp_path / "more").mkdir()
    more = audited(tmp_path / "more", "secrecy: {queries: 50}", "[{id: square, queries: 50}]", eps=0.02)
    assert [c.access for c in more.secrecy[0].curves] == ["labels", "scores"]
    assert "scores/square" not in {a.id for a in more.attacks}


def test_the_attacks_of_an_access_share_its_queries(tmp_path: Path) -> None:
    more = "secrecy: {queries: 100, scores: [{id: square, queries: 500}, {id: nes, queries: 20}]}"
    result = audited(tmp_path, more, norm="l2", eps=0.1)
    budgets = {a.id: a.query_budget for a in result.attacks if a.query_budget and not a.id.startswith("transfer")}
    assert budgets == {"labels/surfree": 50, "labels/cgba": 50, "scores/square": 50, "scores/nes": 20}
    assert all(
        r["queries"] <= budgets[r["attack"]] for r in records(tmp_path / "run", "unit") if r["attack"] in budgets
    )
    ends = {c.access: c.queries for c in result.secrecy[0].curves}
    assert ends == {"labels": 100, "scores": 100, "white-box": None}  # what labels can do in 100, scores can


def test_transfer_is_thrown_without_a_query(tmp_path: Path) -> None:
    linear(tmp_path / "s.onnx")
    more = "secrecy: {queries: 20, scores: [], labels: []}"
    result = audited(tmp_path, more, eps=0.3, surrogates=(tmp_path / "s.onnx",))
    transfer, white = result.secrecy[0].curves
    assert (transfer.access, transfer.queries, transfer.broken) == ("transfer", 0, 12)  # its own model is its surrogate
    assert (transfer.median_queries, transfer.mean_queries) == (0, 0)
    assert stands(white) == [(0, 0)]
    assert "Transfer: 12 of 12 samples fell to one candidate each, without a query." in secrecy_sentences(
        result, result.secrecy[0]
    )


def test_without_a_sample_to_attack_the_curves_are_flat_and_have_no_median(tmp_path: Path) -> None:
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"))
    kept = np.load(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=kept["x"][:2], y=kept["y"][:2])
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 10}")
    result = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path), tmp_path / "run")
    for secrecy in result.secrecy:
        for curve in secrecy.curves:
            assert {p.k for p in curve.points} == {0}
            assert (curve.median_queries, curve.mean_queries, curve.broken) == (None, None, 0)
        assert secrecy_sentences(result, secrecy)


def test_several_norms_have_their_own_curves(tmp_path: Path) -> None:
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"))
    (tmp_path / "p.yaml").write_text(
        "name: two\nthreat: {norm: linf, eps: 0.02, also: [{norm: l2, eps: 0.1}]}\nattacks: [fgsm]\n"
        "checks: [clean, evidence]\nsecrecy: {queries: 40}\ncurve: {attacks: [{id: fmn, steps: 10}], rounds: 1}\n"
    )
    result = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "p.yaml"), tmp_path / "run")
    assert [s.norm for s in result.secrecy] == ["linf", "l2"]
    assert [c.attacks for c in result.secrecy[1].curves[:2]] == [
        ("l2/labels/surfree", "l2/labels/cgba"),
        ("l2/scores/square",),
    ]
    for secrecy, outcome_ in zip(result.secrecy, result.threats, strict=True):
        assert secrecy.curves[-1].points[0].k == outcome_.upper_bound_observed.k
    broken = sum(s.broken_by is not None for s in result.samples)
    assert broken == 12 - result.worst_case.upper_bound_observed.k


def test_a_file_that_gives_labels_alone_has_no_attacker_with_scores(tmp_path: Path) -> None:
    model = labels_only(tmp_path / "m.onnx", hide=True)
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 30}", "[{id: geoda, queries: 30}]", 0.2)
    result = run_here(make_request(model, make_data(tmp_path / "d.npz"), path), tmp_path / "run")
    assert [c.access for c in result.secrecy[0].curves] == ["labels"]
    assert result.secrecy[0].curves[0].main
    status = {a.id: (a.status, a.reason) for a in result.attacks}
    assert status["scores/square"] == ("skipped", "the file returns labels only")
    assert result.run.complete


@pytest.mark.parametrize(
    ("norm", "eps", "attack", "wanted"),
    [
        ("l0", 2, "sigma-zero", {"labels": ("labels/pointwise",), "scores": ("scores/sparse-rs",)}),
        ("l1", 0.5, "fgsm", {"scores": ("scores/square",)}),  # no attack with labels searches in L1
    ],
)
def test_each_norm_has_its_usual_attacks(
    tmp_path: Path, norm: str, eps: float, attack: str, wanted: dict[str, Sequence[str]]
) -> None:
    result = audited(tmp_path, "secrecy: {queries: 60}", f"[{attack}]", norm, eps)
    curves = {curve.access: curve for curve in result.secrecy[0].curves}
    assert {access: curve.attacks for access, curve in curves.items()} == wanted | {"white-box": (attack,)}
    for access in wanted:
        keys = curves[access].attacks
        told = {s.index: p.queries for s in result.samples for p in s.prices if p.attack in keys}
        assert told == recomputed(tmp_path / "run", keys)
    assert curves["scores"].broken > 0


def test_a_goal_of_several_classes_counts_its_cheapest(tmp_path: Path) -> None:
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 60}", "[{id: pgd, steps: 4}]", 0.2)
    path.write_text(path.read_text().replace("eps: 0.2", "eps: 0.2, goal: 'every:2'"))
    request = make_request(make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), path)
    result = run_here(request, tmp_path / "run")
    labels, scores, white = result.secrecy[0].curves
    assert labels.attacks == ("labels/hopskipjump",)  # rays has no targeted form
    assert scores.queries == 60
    won = [r for r in records(tmp_path / "run", "unit") if r["attack"] == "scores/square" and r["success"]]
    cheapest = {sample_of(r["sample"]): 60 for r in won}
    for r in won:
        cheapest[sample_of(r["sample"])] = min(r["queries"], cheapest[sample_of(r["sample"])])
    assert len(won) > len(cheapest) > 0
    told = {s.index: p.queries for s in result.samples for p in s.prices if p.attack == "scores/square"}
    assert told == cheapest
    assert white.points[0].k == result.worst_case.upper_bound_observed.k


def test_a_sequential_audit_has_the_curves_of_the_samples_that_it_came_to(tmp_path: Path) -> None:
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"), 80)
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 20}\ngates: [clean_accuracy>=0.2]", eps=0.02)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, until_decided=True)
    result = run_here(request, tmp_path / "run")
    assert len(result.samples) < 80
    for curve in result.secrecy[0].curves:
        assert {p.n for p in curve.points} == {len(result.samples)}
    at_once = interval(result.secrecy[0].curves[0].points[0].k, len(result.samples))
    assert result.secrecy[0].curves[0].points[0].low < at_once[0]  # each look spends a part of the error alone


@pytest.mark.parametrize("units", [14, 20, 30])
def test_an_interrupted_audit_goes_on_and_computes_nothing_twice(tmp_path: Path, units: int) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    more = "secrecy: {queries: 60, labels: [{id: geoda}, {id: rays}]}"
    path = profile(tmp_path / "p.yaml", "linf", more, "[fgsm]", 0.02)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=3)
    whole = run_here(request, tmp_path / "whole")
    assert len(records(tmp_path / "whole", "unit")) > 30
    part = run_here(request, tmp_path / "part", stop=Stopper(tmp_path / "part", units))
    assert part.run.interrupted
    complete = [curve.complete for secrecy in part.secrecy for curve in secrecy.curves]
    assert not all(complete) if units > 14 else not complete  # none began
    assert outcome(run_here(request, tmp_path / "part")) == outcome(whole)
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(tmp_path / "part", "unit")]
    assert len(keys) == len(set(keys))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="it kills a process group")
def test_a_killed_audit_comes_to_what_an_unbroken_one_says(tmp_path: Path) -> None:
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz")
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 400}", "[fgsm]", 0.02)
    whole = scan(model, data, path, tmp_path / "whole", "--batch-size", "2")
    assert whole.returncode == 0, whole.stderr
    process = start(model, data, path, tmp_path / "part", "--batch-size", "2")
    wait_for(lambda: any(r["attack"] == "labels/rays" for r in records(tmp_path / "part", "unit")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert scan(model, data, path, tmp_path / "part", "--batch-size", "2").returncode == 0
    one, other = load(tmp_path / "part"), load(tmp_path / "whole")
    assert one.run.resumed
    assert one.secrecy == other.secrecy
    assert [s.prices for s in one.samples] == [s.prices for s in other.samples]


def test_equal_at_any_batch_size(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    path = profile(tmp_path / "p.yaml", "linf", "secrecy: {queries: 60}", "[fgsm]", 0.02)
    found = []
    for size in (1, 16):
        request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=size)
        result = run_here(request, tmp_path / str(size))
        found.append([[(p.attack, p.queries) for p in sample.prices] for sample in result.samples])
    assert found[0] == found[1]


def test_a_price_that_its_result_does_not_bear_out_is_refused(tmp_path: Path) -> None:
    result = audited(tmp_path, "secrecy: {queries: 120}", eps=0.02)
    place = next(i for i, s in enumerate(result.samples) if len(s.prices) == 2)

    def refused(change: Any, words: str) -> None:
        content = json.loads(result.to_json())
        before = content["samples"][place]["queries"]
        change(content["samples"][place])
        [first] = [a for a in content["attacks"] if a["id"] == content["samples"][place]["spent"][0]["attack"]]
        first["queries"] += content["samples"][place]["queries"] - before
        del content["digest"]
        with pytest.raises(UsageError, match=words):
            parse_result(json.dumps({**content, "digest": content_digest(content)}), "r.json")

    refused(lambda s: s["prices"][0].update(queries=s["queries"]), "queries were spent|were spent on it")

    def dearer(sample: Any) -> None:
        sample["spent"][0]["queries"] += 1000 - sample["queries"]
        sample["queries"] = 1000
        sample["prices"][0]["queries"] = 121

    refused(dearer, "after 121 queries, which may spend 120")
    refused(lambda s: s["prices"][0].update(queries=s["prices"][0]["queries"] - 1), r"secrecy\[0\]")
    refused(lambda s: s["prices"].reverse(), "not in the order")
    refused(lambda s: s["prices"].append(s["prices"][0]), "two of one")
    refused(lambda s: s["prices"][0].update(attack="fgsm"), "no cascade of one access")
    refused(lambda s: s["prices"][0].update(distance=0.03), "outside of 0.02")
    refused(lambda s: s.update(prices=[]), "broke|broken|secrecy")
