"""Audits of a model behind a service that tells less, rejects, and watches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from run_kit import labels_only, make_data, make_onnx, make_request, outcome, predict, run_here, weights
from table_files import NAMES, answers, write_model, write_table

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.units import FinishedUnit
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.stored.file import parse_result, save_result
from robaudit.errors import UsageError

ATTACKS = "[{id: square, queries: 60}, {id: rays, queries: 60}, {id: hopskipjump, queries: 60}]"


def profile(folder: Path, threat: str = "", eps: float = 0.04, checks: str = "[clean, evidence]") -> Path:
    path = folder / "p.yaml"
    path.write_text(f"name: p\nthreat: {{norm: linf, eps: {eps}{threat}}}\nattacks: {ATTACKS}\nchecks: {checks}\n")
    return path


def audit(folder: Path, threat: str = "", eps: float = 0.04, **changes: Any) -> Result:
    folder.mkdir(exist_ok=True)
    request = make_request(
        make_onnx(folder / "m.onnx"), make_data(folder / "d.npz"), profile(folder, threat, eps), **changes
    )
    result = run_here(request, folder / "run")
    assert parse_result(result.to_json(), "r.json") == result  # what is told fits its own samples
    return result


def probabilities(x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    w1, b1, w2, b2 = weights()
    scores = scale * (np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w1.T + b1) @ w2.T + b2)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_what_units_were_seen_to_ask_adds_up_in_the_result(tmp_path: Path) -> None:
    result = audit(tmp_path)
    journal = Journal(tmp_path / "run")
    journal.load()
    units = list(journal.of(FinishedUnit))
    for attack in result.attacks:
        mine = [unit for unit in units if unit.attack == attack.id]
        spent = [s for sample in result.samples for s in sample.spent if s.attack == attack.id]
        assert sorted(s.queries for s in spent) == sorted(unit.queries for unit in mine)
        found = attack.queried
        assert found is not None
        for name in ("bad", "repeated", "watched", "flagged"):
            assert getattr(found, name) == sum(getattr(unit.seen, name) for unit in mine)
        each = [unit.queries for unit in mine]
        assert (found.median, found.mean) == (np.median(each), np.mean(each))
        won = [unit.queries for unit in mine if unit.success]
        assert found.median_to_success == (np.median(won) if won else None)
        assert found.most_to_success == max(won, default=None)
    assert sum(attack.newly_broken for attack in result.attacks) > 0
    assert all(sum(s.queries for s in sample.spent) == sample.queries for sample in result.samples)


def test_a_success_of_square_is_its_only_query_that_is_not_bad(tmp_path: Path) -> None:
    result = audit(tmp_path)
    for sample in result.samples:
        for spent in sample.spent:
            if spent.attack == "square":
                assert spent.bad == spent.queries - (sample.broken_by == "square")


def test_rejected_samples_are_not_answered_correctly(tmp_path: Path) -> None:
    data = np.load(make_data(tmp_path / "x.npz"))
    top = probabilities(data["x"]).max(1)
    bound = float(np.sort(top)[5:7].mean())
    result = audit(tmp_path / "a", f", answers: {{reject_below: {bound:.6f}}}", eps=0.15)
    assert [sample.rejected for sample in result.samples] == (top < bound).tolist()
    assert result.clean.rejected == 6
    right = (predict(data["x"]) == data["y"]) & (top >= bound)
    assert (result.clean.accuracy.k, result.clean.accuracy.n) == (right.sum(), 16)
    assert all(not sample.spent for sample in result.samples if sample.rejected)
    evidence = np.load(tmp_path / "a" / "run" / "evidence.npz")
    assert len(evidence["adversarial"]) > 0
    assert (probabilities(evidence["adversarial"]).max(1) >= bound - 1e-6).all(), "no success is rejected"
    assert {check.id: check.status for check in result.checks} == {"clean": "pass", "evidence": "pass"}


def test_an_example_that_is_rejected_now_does_not_hold_up(tmp_path: Path) -> None:
    bound = 0.6
    run = tmp_path / "a" / "run"
    save_result(audit(tmp_path / "a", f", answers: {{reject_below: {bound}}}", eps=0.15), run / "result.json")
    assert replay(ReplayRequest(run, model=tmp_path / "a" / "m.onnx")).holds
    evidence = np.load(run / "evidence.npz")
    scale = 0.7  # the classes are the same, each less sure
    clean, found = (probabilities(evidence[name], scale).max(1) for name in ("original", "adversarial"))
    expected = np.where(clean < bound, "original wrong", np.where(found < bound, "rejected", "fools"))
    assert set(expected) == {"original wrong", "rejected", "fools"}
    again = replay(ReplayRequest(run, model=make_onnx(tmp_path / "m.onnx", scale=scale)))
    assert [row.status for row in again.examples] == expected.tolist()
    assert (again.fooled, again.holds, again.exit_code) == ((expected == "fools").sum(), False, 1)


def test_less_is_told_and_resumed_audits_end_the_same(tmp_path: Path) -> None:
    threat = ", answers: {top: 2, decimals: 1, noise: 0.2}, duplicates: free, rate: 30/min"
    whole = audit(tmp_path / "a", threat)
    served = whole.threat_model.served
    assert served is not None
    assert (served.numbers, served.top, served.decimals, served.noise) == ("scores", 2, 1, 0.2)
    assert (served.duplicates, served.per_second) == ("free", 0.5)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 90

    folder = tmp_path / "b"
    folder.mkdir()
    request = make_request(make_onnx(folder / "m.onnx"), make_data(folder / "d.npz"), profile(folder, threat))
    run_here(request, folder / "run", stop=stop)
    again = run_here(request, folder / "run")
    assert outcome(again) == outcome(whole)
    assert [sample.spent for sample in again.samples] == [sample.spent for sample in whole.samples]
    plain = audit(tmp_path / "c")
    assert plain.threat_model.served is None
    assert [s.spent for s in plain.samples] != [s.spent for s in whole.samples]


def test_labels_have_no_probability_to_reject_by(tmp_path: Path) -> None:
    request = make_request(
        labels_only(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz"),
        profile(tmp_path, ", answers: {reject_below: 0.5}"),
    )
    with pytest.raises(UsageError, match=r"nothing can be rejected .*m\.onnx returns labels only"):
        run_here(request, tmp_path / "run")


def test_whole_numbered_features_make_many_queries_the_same(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", TensorProto.INT64)
    x = write_table(tmp_path / "t.csv", model).round().astype(int)
    rows = [",".join(map(str, (*row, label))) for row, label in zip(x.tolist(), answers(model, x), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join([*NAMES, "y"]), *rows]))
    request = make_request(model, tmp_path / "t.csv", profile(tmp_path, eps=0.01), input_values={})
    result = run_here(request, tmp_path / "run")
    found = [attack.queried for attack in result.attacks if attack.queried is not None]
    assert found
    assert sum(each.repeated for each in found) > sum(attack.queries for attack in result.attacks) / 4
    assert all(each.watched == 0 for each in found)  # rows are no images


def test_the_json_holds_what_was_spent_alone(tmp_path: Path) -> None:
    content = json.loads(audit(tmp_path).to_json())
    assert content["threat_model"]["served"] is None
    assert all(("spent" in sample) == (sample["queries"] > 0) for sample in content["samples"])
