"""The price of secrecy: what each access costs an attacker in queries, from the units of a journal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from journal_kit import clean, comes_back, plan, unit
from linear_kit import Stopper, linear, near_the_middle, profile
from results import make_attack
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

from robaudit.audit.config.profile import load_profile
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import Tally
from robaudit.audit.outcome.prices import prices_of
from robaudit.audit.plan.secrecy import validate_secrecy
from robaudit.audit.result.document import Attack, Result, Secrecy, content_digest
from robaudit.audit.result.secrecy import build_secrecy, query_grid
from robaudit.audit.stored.file import parse_result
from robaudit.engine.units import case_of, sample_of
from robaudit.errors import UsageError
from robaudit.report.secrecy import secrecy_rows, secrecy_sentences
from robaudit.stats.rates import interval

Found = tuple[str, int, int, bool]
"""(attack, sample or case, queries, whether it fell)."""


def black_box(id: str, budget: int = 100, **changes: Any) -> Attack:
    access = id.split("/")[0]
    return make_attack(id, access, query_budget=budget, **changes)


ATTACKS = (
    black_box("transfer/t", 1),
    black_box("transfer/u", 1),
    black_box("labels/a"),
    black_box("labels/b"),
    black_box("scores/c", 600),
)


def tally(units: Sequence[Found], attacks: Sequence[Attack] = ATTACKS, phase: str = "secrecy", **changes: Any) -> Tally:
    """Of samples 0 to 4 that are answered correctly, and 5 that is not."""
    journal = Journal(None)
    for index in range(6):
        journal.append(clean(index, prediction=int(index == 5), **changes))
    entries = tuple(plan(a.id, access=a.access, phase=phase, budget=a.query_budget).attacks[0] for a in attacks)
    journal.append(type(plan())(attacks=entries))
    assert comes_back(journal.records)
    for attack, sample, queries, fell in units:
        journal.append(unit(attack, sample, queries=queries, success=fell, distance=0.01 if fell else None))
    return Tally(journal, journal.keyed(CleanSample, "index"))


UNITS: list[Found] = [
    *(("transfer/t", i, 1, i == 4) for i in range(5)),
    *(("transfer/u", i, 1, i == 3) for i in range(4)),
    ("labels/a", 0, 30, True),
    ("labels/a", 1, 100, False),
    ("labels/b", 1, 40, True),
    ("labels/a", 2, 100, False),
    ("labels/b", 2, 100, False),
    ("labels/a", 3, 7, True),
    ("labels/a", 4, 100, False),
    ("labels/b", 4, 93, False),
    ("scores/c", 0, 50, True),
    ("scores/c", 1, 10, True),
    ("scores/c", 2, 500, True),
    ("scores/c", 3, 600, False),
    ("scores/c", 4, 600, False),
]


def curves_of(found: Tally, attacks: Sequence[Attack] = ATTACKS, standing: int = 0) -> Secrecy:
    costs: dict[Any, dict[int, int]] = {}
    access = {attack.id: attack.access for attack in attacks}
    for sample, prices in prices_of(attacks, found).items():
        for price in prices:
            costs.setdefault(access[price.attack], {})[sample] = price.queries
    secrecy = build_secrecy("linf", attacks, costs, standing, 5, 6)
    assert secrecy is not None
    return secrecy


def test_queries_are_counted_along_a_cascade_until_the_sample_falls() -> None:
    found = prices_of(ATTACKS, tally(UNITS))
    told = {i: [(price.attack, price.queries) for price in prices] for i, prices in found.items()}
    assert told == {
        0: [("labels/a", 30), ("scores/c", 50)],
        1: [("labels/b", 140), ("scores/c", 10)],
        2: [("scores/c", 500)],
        3: [("transfer/u", 1), ("labels/a", 7)],  # the first candidate was seen to fail
        4: [("transfer/t", 0)],
    }


def test_who_has_more_access_can_do_what_one_with_less_can() -> None:
    transfer, labels, scores = curves_of(tally(UNITS)).curves
    assert [(c.access, c.queries, c.broken, c.unbroken) for c in (transfer, labels, scores)] == [
        ("transfer", 1, 2, 3),
        ("labels", 200, 4, 1),
        ("scores", 600, 5, 0),
    ]
    at = {c.access: {p.queries: p.k for p in c.points} for c in (transfer, labels, scores)}
    assert at["transfer"] == {0: 4, 1: 3}
    assert [at["labels"][q] for q in (0, 1, 20, 30, 100, 140, 200)] == [4, 3, 3, 2, 2, 1, 1]
    assert [at["scores"][q] for q in (0, 1, 5, 10, 30, 200, 500, 600)] == [4, 3, 3, 2, 1, 1, 0, 0]
    for curve in (transfer, labels, scores):
        assert all((p.low, p.high) == interval(p.k, 6) for p in curve.points)
        assert all(p.estimate == p.k / 6 for p in curve.points)


def test_failures_are_censored_and_never_left_out() -> None:
    transfer, labels, scores = curves_of(tally(UNITS)).curves
    assert (transfer.median_queries, transfer.mean_queries) == (None, (0 + 1 + 3 * 1) / 5)
    assert (labels.median_queries, labels.mean_queries) == (30, (0 + 1 + 30 + 140 + 200) / 5)
    assert (scores.median_queries, scores.mean_queries) == (10, (0 + 1 + 10 + 30 + 500) / 5)
    heads, rows = secrecy_rows(curves_of(tally(UNITS)))
    assert heads[-2:] == ["median queries", "mean queries"]
    assert [row[-2:] for row in rows] == [["more than 1", "at least 0.8"], ["30", "at least 74.2"], ["10", "108.2"]]


def test_what_secrecy_buys_is_said(tmp_path: Path) -> None:
    result = audited(tmp_path, "secrecy: {queries: 60}")
    text = " ".join(secrecy_sentences(result, curves_of(tally(UNITS))))
    assert "an attacker with labels alone needs 3.0 times the queries for the median sample (30 for 10)" in text
    assert "Secrecy of the model's answers buys 33.3 points: 50.0% [11.8, 88.2] stand with transfer and 1 query" in text
    fewer = [u for u in UNITS if u[:2] not in (("labels/a", 0), ("labels/b", 1))]
    text = " ".join(secrecy_sentences(result, curves_of(tally(fewer))))
    assert "needs more than 20 times the queries for the median sample (more than 200 for 10)" in text
    assert "Labels: 2 of 5 samples fell within 200 queries; median more than 200" in text


def test_an_attack_of_an_access_sees_what_those_before_it_left_whatever_the_audits_own_broke() -> None:
    own = make_attack("apgd-ce")
    entries = [plan("apgd-ce", access="white-box").attacks[0]]
    entries += [plan(a.id, access=a.access, phase="secrecy").attacks[0] for a in ATTACKS[2:4]]
    journal = Journal(None)
    for index in range(3):
        journal.append(clean(index))
    journal.append(type(plan())(attacks=tuple(entries)))
    journal.append(unit("apgd-ce", 0, success=True, distance=0.01))
    journal.append(unit("labels/a", 0, success=True, distance=0.01, queries=5))
    journal.append(unit("labels/a", 1, queries=9))
    journal.append(unit("labels/b", 1, success=True, distance=0.01, queries=4))
    journal.append(unit("labels/b", 0, success=True, distance=0.01, queries=4))  # of a session before `a` broke it
    found = Tally(journal, journal.keyed(CleanSample, "index"))
    assert found.broken_by == {0: "apgd-ce", 1: "labels/b"}
    assert list(found.best["labels/a"]) == [0, 1]
    assert list(found.best["labels/b"]) == [1]
    prices = prices_of((own, *ATTACKS[2:4]), found)
    assert {i: [(p.attack, p.queries) for p in ps] for i, ps in prices.items()} == {
        0: [("labels/a", 5)],
        1: [("labels/b", 13)],
    }


def test_of_several_goals_the_cheapest_counts() -> None:
    first, second = case_of(0, 1), case_of(0, 2)
    units = [("labels/a", first, 100, False), ("labels/a", second, 80, True), ("labels/b", first, 60, True)]
    found = prices_of(ATTACKS[2:4], tally(units, ATTACKS[2:4], goals=(1, 2)))
    assert [(p.attack, p.queries) for p in found[0]] == [("labels/a", 80)]
    assert sample_of(second) == 0


def test_the_audits_own_cascade_is_a_curve_where_all_of_it_has_one_access() -> None:
    own = (make_attack("rays", "labels", query_budget=50), make_attack("geoda", "labels", query_budget=70))
    units = [("rays", 0, 20, True), ("rays", 1, 50, False), ("geoda", 1, 5, True), ("rays", 2, 50, False)]
    [curve] = curves_of(tally(units, own, "cascade"), own).curves
    assert (curve.access, curve.main, curve.queries, curve.attacks) == ("labels", True, 120, ("rays", "geoda"))
    assert (curve.broken, curve.unbroken, curve.median_queries) == (2, 3, None)
    other = make_attack("square", "scores", query_budget=9)
    skipped = make_attack("fgsm", status="skipped")
    unknown = own[0].model_copy(update={"query_budget": None})
    for attacks, some in (((*own, skipped), True), ((*own, other), False), ((unknown,), False)):
        assert (build_secrecy("linf", attacks, {}, 5, 5, 6) is not None) == some


@pytest.mark.parametrize(
    ("most", "wanted"), [(0, [0]), (1, [0, 1]), (7, [0, 1, 2, 5, 7]), (100, [0, 1, 2, 5, 10, 20, 50, 100])]
)
def test_the_grid_rises_to_the_budget(most: int, wanted: list[int]) -> None:
    assert list(dict.fromkeys(query_grid(most))) == wanted


def audited(
    tmp_path: Path, more: str, attacks: str = "[fgsm]", norm: str = "linf", eps: float = 0.05, **changes: Any
) -> Result:
    """An audit of a linear model of two classes; two of its 14 samples are answered wrongly."""
    near_the_middle(tmp_path / "d.npz", linear(tmp_path / "m.onnx"))
    path = profile(tmp_path / "p.yaml", norm, more, attacks, eps)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=5, **changes)
    return run_here(request, tmp_path / "run")


def recomputed(run: Path, keys: Sequence[str]) -> dict[int, int]:
    """Queries until each sample fell, from the lines of a journal alone; each attack has one unit a sample."""
    units = {(r["attack"], r["sample"]): r for r in records(run, "unit")}
    found = {}
    for sample in {sample for _, sample in units}:
        spent = 0
        for key in keys:
            record = units.get((key, sample))
            spent += record["queries"] if record else 0
            if record and record["success"]:
                found[sample] = spent
                break
    return found


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
        change(content["samples"][place])
        del content["digest"]
        with pytest.raises(UsageError, match=words):
            parse_result(json.dumps({**content, "digest": content_digest(content)}), "r.json")

    refused(lambda s: s["prices"][0].update(queries=s["queries"]), "queries were spent|were spent on it")
    more = {"queries": 1000}
    refused(lambda s: (s.update(more), s["prices"][0].update(queries=121)), "after 121 queries, which may spend 120")
    refused(lambda s: s["prices"][0].update(queries=s["prices"][0]["queries"] - 1), r"secrecy\[0\]")
    refused(lambda s: s["prices"].reverse(), "not in the order")
    refused(lambda s: s["prices"].append(s["prices"][0]), "two of one")
    refused(lambda s: s["prices"][0].update(attack="fgsm"), "no cascade of one access")
    refused(lambda s: s["prices"][0].update(distance=0.03), "outside of 0.02")
    refused(lambda s: s.update(prices=[]), "broke|broken|secrecy")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{labels: [square]}", r"line \d+ of .*p.yaml: secrecy.labels.0: square is an attack with scores, not with la"),
        ("{scores: [{id: square, querys: 3}]}", r"secrecy.scores.0.querys: attack 'square' has no"),
        ("{transfer: [mi-fgsm]}", r"secrecy.transfer.0: mi-fgsm is an attack with white-box"),
        ("{labels: [rais]}", r"secrecy.labels.0: unknown attack 'rais'"),
    ],
)
def test_attacks_that_have_another_access_are_refused(tmp_path: Path, spec: str, message: str) -> None:
    path = profile(tmp_path / "p.yaml", "linf", f"secrecy: {spec}")
    with pytest.raises(UsageError, match=message):
        validate_secrecy(load_profile(str(path)))


def test_a_profile_takes_the_secrecy_of_its_base_or_drops_it(tmp_path: Path) -> None:
    base = profile(tmp_path / "base.yaml", "linf", "secrecy: {queries: 7}")
    lines = (("a", "secrecy: true", 7), ("b", "secrecy: {queries: 9}", 9), ("c", "", 7), ("d", "secrecy: false", None))
    for name, line, queries in lines:
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nextends: {base}\n{line}\n")
        secrecy = load_profile(str(path)).secrecy
        assert (secrecy.queries if secrecy else None) == queries
    plain = profile(tmp_path / "plain.yaml", "linf", "")
    assert "secrecy" not in load_profile(str(plain)).model_dump()
