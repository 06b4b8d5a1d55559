"""Several threat models in one audit: each by itself, and their union."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from results import make_result
from run_kit import make_data, make_onnx, make_request, outcome, records, run_here

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.config.threats import attack_keys
from robaudit.audit.result.document import Feature, InputSpec, Threat
from robaudit.audit.verdict.conclusion import conclude
from robaudit.audit.verdict.gates import Available, check_gates
from robaudit.audit.verdict.limitations import boundless
from robaudit.errors import UsageError
from robaudit.report.terminal import render_text

SIDE = 4
DENSE = 0.5
"""Boundary of the class that takes all features; a step of L-inf r moves its score by r times DENSE * 16."""


def model(path: Path) -> Path:
    """Three classes: the label's score is 0, the second rises with one feature, the third with all."""
    weights = np.zeros((3, SIDE * SIDE), np.float32)
    weights[1, 0] = 1
    weights[2, 1:] = DENSE
    arrays = {"w": weights, "b": np.array([0, -0.7, -DENSE * 15 * 0.6], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1)],
        "three",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def data(path: Path) -> Path:
    """Near one boundary in L1, near the other in L-inf, near both, near none; and one labelled wrongly."""
    x = np.full((5, 1, SIDE, SIDE), 0.4, np.float32)
    first, rest = x.reshape(5, -1)[:, 0], x.reshape(5, -1)[:, 1:]
    first[:] = [0.5, 0.2, 0.5, 0.2, 0.21]  # L1 and L-inf distance 0.2 or 0.5 from 0.7
    rest[:] = np.array([0.4, 0.55, 0.55, 0.4, 0.4])[:, None]  # L-inf 0.2 or 0.05 from 0.6, L1 3 or 0.75
    np.savez(path, x=x, y=np.array([0, 0, 0, 0, 1]))
    return path


def write(path: Path, more: str = "", attacks: str = "[apgd-ce, {id: apgd-ce, loss: margin}]") -> Path:
    path.write_text(
        "name: both\nthreat: {norm: linf, eps: 0.1, also: [{norm: l1, eps: 0.25}]}\n"
        f"attacks: {attacks}\nchecks: [clean, evidence, black-over-white]\n{more}\n"
    )
    return path


@pytest.fixture
def request_of(tmp_path: Path) -> Any:
    def build(more: str = "", **changes: Any) -> AuditRequest:
        return make_request(
            model(tmp_path / "m.onnx"), data(tmp_path / "d.npz"), write(tmp_path / "p.yaml", more), **changes
        )

    return build


def test_a_sample_stands_only_if_it_stands_in_all(tmp_path: Path, request_of: Any) -> None:
    gates = "gates: [{metric: robust_accuracy, min: 0.01}, {metric: robust_accuracy.l1, min: 0.01}]"
    result = run_here(request_of(gates), tmp_path / "run")
    linf, l1 = result.threats
    assert [(t.norm, t.eps, t.broken, t.broken_here_alone, t.upper_bound_observed.k) for t in result.threats] == [
        ("linf", 0.1, 2, 1, 2),
        ("l1", 0.25, 2, 1, 2),
    ]
    assert linf.upper_bound_observed.n == l1.upper_bound_observed.n == 5
    assert result.worst_case.upper_bound_observed.k == 1
    assert (result.worst_case.upper_bound_observed.low, result.worst_case.upper_bound_observed.n) == (
        pytest.approx(0.00505, abs=1e-4),
        5,
    )
    ledger = [{b.norm: b.attack for b in s.breaches} for s in result.samples]
    assert [sorted(found) for found in ledger] == [["l1"], ["linf"], ["l1", "linf"], [], []]
    assert all(attack.startswith(f"{norm}/") for found in ledger for norm, attack in found.items())
    for sample in result.samples:
        for breach in sample.breaches:
            assert breach.distance <= {"linf": 0.1, "l1": 0.25}[breach.norm] + 1e-6
            assert breach.prediction in (1, 2)
    assert [s.broken_by and s.broken_by.split("/")[0] for s in result.samples] == ["l1", "linf", "linf", None, None]
    assert result.evidence.count == 4
    assert {c.id: c.status for c in result.checks}["evidence"] == "pass"
    assert {a.norm for a in result.attacks if a.id.startswith("l1/")} == {"l1"}
    assert result.attacks[2].attempted == 4  # the second norm begins with every sample again
    assert [(g.metric, g.observed.k) for g in result.gates] == [("robust_accuracy", 1), ("robust_accuracy.l1", 2)]
    assert "under the union of L∞ ≤ 0.1 and L1 ≤ 0.25" in result.verdict.headline
    assert not any("other norms (L∞" in text or "L1" in text for text in result.limitations)
    assert {r["attack"].split("/")[0] for r in records(tmp_path / "run", "unit")} == {"linf", "l1"}


def test_the_report_shows_each_norm_and_the_union(tmp_path: Path, request_of: Any) -> None:
    result = run_here(request_of(), tmp_path / "run")
    text = render_text(result)
    block = text.split("Threat models, each by itself", 1)[1].split("\n\n\n", 1)[0]
    rows = {line.split("  ")[0].strip(): line for line in block.splitlines()}
    assert "40.0% [5.3, 85.3]" in rows["L∞ ≤ 0.1"]
    assert "40.0% [5.3, 85.3]" in rows["L1 ≤ 0.25"]
    assert "20.0% [0.5, 71.6]" in rows["any of them"]
    assert "change every input value by up to 0.1 of its range, or change" in " ".join(text.split())
    content = json.loads(result.to_json())
    assert [t["norm"] for t in content["threats"]] == ["linf", "l1"]
    assert max(map(len, render_text(result, width=60).splitlines())) <= 80


@pytest.mark.parametrize("units", [2, 7, 12])
def test_an_interrupted_union_goes_on(tmp_path: Path, request_of: Any, units: int) -> None:
    request = request_of("curve: {rounds: 1}", batch_size=2)
    whole = run_here(request, tmp_path / "whole")
    assert len(records(tmp_path / "whole", "unit")) > 20
    part = run_here(request, tmp_path / "part", stop=lambda: len(records(tmp_path / "part", "unit")) >= units)
    assert part.run.interrupted
    resumed = run_here(request, tmp_path / "part")
    assert outcome(resumed) == outcome(whole)
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(tmp_path / "part", "unit")]
    assert len(keys) == len(set(keys))


def test_each_norm_has_its_curve(tmp_path: Path, request_of: Any) -> None:
    result = run_here(request_of("curve: true"), tmp_path / "run")
    assert [c.norm for c in result.curves] == ["linf", "l1"]
    for curve, threat in zip(result.curves, result.threats, strict=True):
        assert next(p for p in curve.points if p.eps == threat.eps).k == threat.upper_bound_observed.k
    found = [s.smallest_distance for s in result.samples]
    np.testing.assert_allclose(found[:4], [0.2, 0.05, 0.05, 0.2], rtol=0.03)
    assert result.curves[1].median_distance == pytest.approx((0.2 + 0.5) / 2, rel=0.03)


def test_a_norm_that_no_attack_serves_leaves_the_audit_incomplete(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml", attacks="[{id: bim}]")
    request = make_request(model(tmp_path / "m.onnx"), data(tmp_path / "d.npz"), path)
    result = run_here(request, tmp_path / "run")
    assert [(a.id, a.status) for a in result.attacks] == [("linf/bim", "done"), ("l1/bim", "skipped")]
    assert not result.run.complete
    assert any("no attack ran in L1" in reason for reason in result.verdict.reasons)


def test_a_single_threat_model_tells_nothing_of_unions(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: one\nthreat: {norm: l2, eps: 0.1}\nattacks: [fgsm]\nchecks: [clean]\n")
    result = run_here(make_request(make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), path), tmp_path / "r")
    assert '"threats"' not in result.to_json()
    assert "also" not in result.profile.resolved["threat"]
    assert [a.id for a in result.attacks] == ["fgsm"]
    gates = [GateSpec(metric="robust_accuracy.l2", min=0.01), GateSpec(metric="robust_accuracy.l1", min=0.01)]
    decided = conclude(result, gates).gates
    assert decided[0].observed == result.worst_case.upper_bound_observed
    assert decided[1].status == "invalid"
    assert decided[1].message == "this audit did not attack in l1"


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("[{norm: linf, eps: 0.2}]", "the norm linf is given twice"),
        ("[{norm: l0, eps: 1.5}]", "whole number"),
        ("[{norm: l3, eps: 1}]", "l3|linf"),
        ("[{norm: l2}]", "eps"),
    ],
)
def test_bad_unions_are_refused(tmp_path: Path, also: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"name: bad\nthreat: {{norm: linf, eps: 0.1, also: {also}}}\nattacks: [fgsm]\n")
    with pytest.raises(UsageError, match=message):
        load_profile(str(path))


def test_gates_on_norms_that_are_not_audited_are_refused_before_the_audit(tmp_path: Path) -> None:
    profile = load_profile(str(write(tmp_path / "p.yaml")))
    keys = attack_keys(profile)
    assert keys == ["linf/apgd-ce", "linf/apgd-ce", "l1/apgd-ce", "l1/apgd-ce"]
    good = GateSpec(metric="attacks.l1/apgd-ce.cumulative_robust_accuracy", min=0.1)
    check_gates([good, GateSpec(metric="robust_accuracy.l1", min=0.1)], Available(keys, [], ["linf", "l1"]))
    with pytest.raises(UsageError, match="linf, l1 alone"):
        check_gates([GateSpec(metric="robust_accuracy.l2", min=0.1)], Available(keys, [], ["linf", "l1"]))
    with pytest.raises(ValueError, match="l2"):
        GateSpec(metric="robust_accuracy.l3", min=0.1)


def test_one_norm_of_a_union_can_be_picked(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"

    def threat(**flags: Any) -> tuple[str, str, list[str]]:
        found = resolve_settings({"profile": "union", **flags}, {}, file).profile.threat
        return found.norm, found.eps, [other.norm for other in found.also]

    assert threat() == ("linf", "8/255", ["l2", "l1", "l0"])
    assert threat(norm="l1") == ("l1", "12", [])
    assert threat(norm="l2", eps="0.25") == ("l2", "0.25", [])
    with pytest.raises(UsageError, match="eps needs the norm"):
        threat(eps="0.1")
    (tmp_path / "robaudit.yaml").write_text("norm: linf\neps: 0.1\n")  # meant for another profile
    assert threat() == ("linf", "8/255", ["l2", "l1", "l0"])
    (tmp_path / "robaudit.yaml").write_text("profile: union\nnorm: linf\neps: 0.1\n")
    assert resolve_settings({}, {}, file).profile.threat.also == ()


def test_a_ball_that_holds_every_valid_input_is_told():
    also = [{"norm": "l2", "eps": 1.5, "eps_text": "1.5"}, {"norm": "l0", "eps": 3, "eps_text": "3"}]
    threat = Threat(norm="linf", eps=0.9, eps_text="0.9", also=also)

    def found(shape: tuple[int | str, ...], still: int = 0) -> list[str]:
        features = [Feature(name=str(i), low=0, high=1, immutable=i < still) for i in range(4)] if still else []
        spec = InputSpec(name="x", shape=shape, dtype="float32", features=features)
        return boundless(make_result(threat_model=threat, target={"input": spec}))

    assert found(("N", 4)) == []
    assert found(("N", 3)) == ["l0"]
    assert found(("N", 4), still=2) == ["l2", "l0"]
    assert found((1, 1, 2)) == ["l2", "l0"]
