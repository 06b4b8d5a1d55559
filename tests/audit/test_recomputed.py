"""What an audit tells, computed again from its data and its evidence by NumPy alone."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from recompute import Audit, Figure, bound, pairs
from run_kit import CLASSES, make_data, make_onnx, make_request, run_here, weights

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.compare import compare
from robaudit.audit.verdict.gates import evaluate_gates
from robaudit.files import sha256_file

RADII = {"linf": 0.03, "l2": 0.15}


@pytest.fixture(scope="module", params=["linf", "l2", "union"])
def run(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    norms = list(RADII) if request.param == "union" else [request.param]
    also = "".join(f"{{norm: {norm}, eps: {RADII[norm]}}}" for norm in norms[1:])
    gates = [("robust_accuracy", 0.3), ("clean_accuracy", 0.6)]
    gates += [
        (f"class.{label}.{name}", 0.2) for label in range(CLASSES) for name in ("robust_accuracy", "clean_accuracy")
    ]
    (folder / "p.yaml").write_text(
        f"name: p\nthreat: {{norm: {norms[0]}, eps: {RADII[norms[0]]}, also: [{also}]}}\n"
        "attacks: [{id: pgd, steps: 3}, fgsm]\nchecks: [clean, evidence]\n"
        "curve: {attacks: [{id: fmn, steps: 10}, {id: deepfool, steps: 3}], rounds: 2}\n"
        "gates:\n" + "".join(f"  - {{metric: {name}, min: {least}, level: warn}}\n" for name, least in gates)
    )
    audit = make_request(make_onnx(folder / "m.onnx"), make_data(folder / "d.npz", 24), folder / "p.yaml")
    result = run_here(audit, folder / "run")
    save_result(result, folder / "run" / "result.json")
    (folder / "run" / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(audit.model)}))
    return folder / "run"


def logits(x: np.ndarray, levels: int = 0) -> np.ndarray:
    """The network's answers in float64; ``levels``: of the one that rounds its input."""
    w1, b1, w2, b2 = (w.astype(np.float32).astype(np.float64) for w in weights())
    x = np.round(x * levels) / levels if levels else x
    return np.tanh(x.reshape(len(x), -1) @ w1.T + b1) @ w2.T + b2


def audited(run: Path, answers: Callable[[np.ndarray], np.ndarray] = logits) -> Audit:
    content = json.loads((run / "result.json").read_text())
    with np.load(run / "evidence.npz") as archive, np.load(run.parent / "d.npz") as data:
        return Audit(content, archive, data["x"], data["y"], answers)


def check(figures: Iterable[Figure]) -> int:
    """How many there are; each is what it should be."""
    found = list(figures)
    for place, told, again in found:
        close = isinstance(again, float) and not isinstance(told, str) and told is not None
        assert told == (pytest.approx(again, rel=1e-5, abs=2e-6) if close else again), place
    return len(found)


def test_nothing_but_numpy_recomputes() -> None:
    source = (Path(__file__).parents[1] / "recompute.py").read_text()
    modules = {
        line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert modules - sys.stdlib_module_names == {"numpy"}


FEWEST = {"linf": 650, "l2": 650, "union": 1200}
"""Figures of a result that are computed again, by what is audited."""


def test_every_figure_follows_from_data_and_evidence_alone(run: Path) -> None:
    kind = "union" if len(audited(run).radii) > 1 else audited(run).main
    assert check(audited(run).figures()) >= FEWEST[kind]


def test_a_comparison_follows_from_the_evidence_of_both_audits(run: Path) -> None:
    if len(audited(run).radii) > 1:
        return  # of several norms the comparison is the same
    folder = run.parent
    request = make_request(make_onnx(folder / "m8.onnx", extra="round"), folder / "d.npz", folder / "p.yaml")
    save_result(run_here(request, folder / "base"), folder / "base" / "result.json")
    new, base = (load_result(path / "result.json") for path in (run, folder / "base"))
    found = json.loads(compare(base, new).model_dump_json())
    before = audited(folder / "base", partial(logits, levels=8))
    assert found["worst_case"]["gained"] > 0
    assert check(pairs(found, before, audited(run))) == 34
    assert check(before.figures()) > 400


def test_every_distance_of_a_curve_is_replayed(run: Path) -> None:
    result = load_result(run / "result.json")
    wanted = sum(curve.broken for curve in result.curves)
    assert result.evidence.nearest == wanted > 12
    found = replay(ReplayRequest(run))
    assert found.holds
    near = [row for row in found.examples if row.nearest]
    assert (found.count, len(near)) == (result.evidence.count + wanted, wanted)
    smallest = {s.index: s.smallest_distance for s in result.samples if s.smallest_distance is not None}
    first = {row.index: row.distance for row in near if row.norm == result.threat_model.norm}
    assert first == {index: pytest.approx(size, abs=2e-6) for index, size in smallest.items()}
    assert any(row.distance > row.eps + 1e-6 for row in near)


def test_gates_on_the_curve_follow_from_the_evidence_alone(run: Path) -> None:
    result: Result = load_result(run / "result.json")
    again = audited(run)
    for norm in {curve.norm for curve in result.curves}:
        padded, eps, n = again.padded(norm), RADII[norm], again.n
        metrics = [f"median_distance.{norm}", f"curve_area.{norm}"]
        metrics += [f"robust_accuracy.{norm}@{radius:.6g}" for radius in (eps, eps / 3, eps * 1.7)]
        median, area, *rates = evaluate_gates([GateSpec(metric=m, min=0.0) for m in metrics], result, [])
        middle = float(np.median(padded))
        assert median.value == (None if math.isinf(middle) else pytest.approx(middle, abs=2e-6))
        heights = [min(size / eps, 1.0) for size in padded] + [0.0] * (n - len(again.correct))
        assert area.value == pytest.approx(np.mean(heights), abs=1e-4)
        for gate, radius in zip(rates, (eps, eps / 3, eps * 1.7), strict=True):
            k = int((padded > radius + 1e-6).sum())
            assert (gate.observed.k, gate.observed.n) == (k, n)
            assert f"{bound(k, n, 0.05, False):.1%}" in gate.message or gate.status == "pass"
        assert [gate.observed.k for gate in rates][1] >= rates[0].observed.k >= rates[2].observed.k


def test_a_distance_that_the_evidence_does_not_show_is_told(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with np.load(copy / "evidence.npz") as kept:
        arrays = dict(kept)
    row = int(np.argmax(arrays["nearest_index"] == arrays["nearest_index"][-1]))
    start, point = arrays["nearest_original"][row], arrays["nearest_adversarial"][row]
    arrays["nearest_adversarial"][row] = np.clip(start + 1.2 * (point - start), 0, 1)
    np.savez(copy / "evidence.npz", **arrays)
    result = load_result(copy / "result.json")
    evidence = result.evidence.model_copy(update={"sha256": sha256_file(copy / "evidence.npz")})
    save_result(result.model_copy(update={"evidence": evidence}), copy / "result.json")
    found = replay(ReplayRequest(copy))
    assert not found.holds
    assert [r.status for r in found.examples if r.status != "fools"] == ["other distance"]
