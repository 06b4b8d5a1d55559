"""What an audit tells, computed again from its evidence and clean answers by NumPy and SciPy alone."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_kit import make_data, make_onnx, make_request, run_here
from scipy.stats import beta, binom

from robaudit.audit.gates import evaluate_gates
from robaudit.audit.gatespecs import GateSpec
from robaudit.audit.identity import sha256_file
from robaudit.audit.replay import replay
from robaudit.audit.replay_request import ReplayRequest
from robaudit.audit.result import Result
from robaudit.audit.resultfile import load_result, save_result
from robaudit.audit.rundir import MARKER

RADII = {"linf": 0.03, "l2": 0.15}
ORDERS = {"linf": np.inf, "l2": 2}


@pytest.fixture(scope="module", params=["linf", "l2", "union"])
def run(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    norms = list(RADII) if request.param == "union" else [request.param]
    also = "".join(f"{{norm: {norm}, eps: {RADII[norm]}}}" for norm in norms[1:])
    (folder / "p.yaml").write_text(
        f"name: p\nthreat: {{norm: {norms[0]}, eps: {RADII[norms[0]]}, also: [{also}]}}\n"
        "attacks: [{id: pgd, steps: 3}, fgsm]\nchecks: [clean, evidence]\n"
        "curve: {attacks: [{id: fmn, steps: 10}, {id: deepfool, steps: 3}], rounds: 2}\n"
    )
    audit = make_request(make_onnx(folder / "m.onnx"), make_data(folder / "d.npz"), folder / "p.yaml")
    result = run_here(audit, folder / "run")
    save_result(result, folder / "run" / "result.json")
    (folder / "run" / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(audit.model)}))
    return folder / "run"


def exact(k: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's interval."""
    return (beta.ppf(0.025, k, n - k + 1) if k else 0.0), (beta.ppf(0.975, k + 1, n - k) if k < n else 1.0)


def sizes(archive: Any, prefix: str, norm: str, norms: dict[str, str]) -> dict[int, float]:
    """Distance in float64 of each example of a norm, by sample."""
    moved = archive[f"{prefix}adversarial"].astype(np.float64) - archive[f"{prefix}original"].astype(np.float64)
    found = np.linalg.norm(moved.reshape(len(moved), -1), ORDERS[norm], axis=1)
    mine = [norms[str(name)] == norm for name in archive[f"{prefix}attack"]]
    return dict(zip(archive[f"{prefix}index"][mine].tolist(), found[mine].tolist(), strict=True))


def compared(content: Any, archive: Any) -> list[tuple[str, Any, Any]]:
    """(place, as told, as computed again) of every figure."""
    found: list[tuple[str, Any, Any]] = []
    norms = {attack["id"]: attack["norm"] for attack in content["attacks"]}
    correct = [s["index"] for s in content["samples"] if s["clean_prediction"] == s["label"] is not None]
    n = len(content["samples"])

    def rate(place: str, told: Any, k: int) -> None:
        found.extend([(f"{place}.k", told["k"], k), (f"{place}.n", told["n"], n)])
        found.extend(
            (f"{place}.{end}", told[end], value) for end, value in zip(("low", "high"), exact(k, n), strict=True)
        )
        found.append((f"{place}.estimate", told["estimate"], k / n))

    rate("clean", content["clean"]["accuracy"], len(correct))
    fell = {norm: sizes(archive, "", norm, norms) for norm in set(norms.values())}
    rate("worst case", content["worst_case"]["robust_accuracy"], len(set(correct) - set().union(*fell.values())))
    by = dict(zip(zip(archive["index"].tolist(), archive["attack"].tolist(), strict=True), range(n * 4), strict=False))
    left = {norm: len(correct) for norm in fell}
    for attack in content["attacks"]:
        newly = sum(name == attack["id"] for _, name in by)
        left[attack["norm"]] -= newly
        found.append((f"{attack['id']}.newly_broken", attack["newly_broken"], newly))
        rate(f"{attack['id']}.cumulative", attack["cumulative_robust_accuracy"], left[attack["norm"]])
        mine = [fell[attack["norm"]][index] for index, name in by if name == attack["id"]]
        if "curve/" not in attack["id"]:
            found.append((f"{attack['id']}.median", attack["median_distance"], np.median(mine) if mine else None))
    for outcome in content.get("threats", ()):
        own = fell[outcome["norm"]]
        rate(f"threat {outcome['norm']}", outcome["upper_bound_observed"], len(set(correct) - own.keys()))
        found.append((f"threat {outcome['norm']}.median", outcome["median_distance"], np.median(list(own.values()))))
    for curve in content["curves"]:
        near = sizes(archive, "nearest_", curve["norm"], norms)
        padded = np.sort([near.get(index, math.inf) for index in correct])
        assert {round(d, 6) for d in near.values()} <= {round(point["eps"], 6) for point in curve["points"]}
        for point in curve["points"]:
            rate(f"curve {curve['norm']} at {point['eps']:.6g}", point, int((padded > point["eps"] + 1e-6).sum()))
        place = int(binom.ppf(0.025, len(correct), 0.5)) - 1
        ends = [None if math.isinf(end) else end for end in (np.median(padded), padded[place], padded[-1 - place])]
        told = [curve[name] for name in ("median_distance", "median_low", "median_high")]
        found.extend((f"curve {curve['norm']}.median", *pair) for pair in zip(told, ends, strict=True))
        area = np.minimum(padded, curve["area_eps"]).sum() / n
        found.extend([(f"curve {curve['norm']}.area", curve["area"], area)])
        found.extend([(f"curve {curve['norm']}.broken", curve["broken"], len(near))])
    return found


def test_every_figure_follows_from_the_evidence_alone(run: Path) -> None:
    content = json.loads((run / "result.json").read_text())
    with np.load(run / "evidence.npz") as archive:
        figures = compared(content, archive)
    assert len(figures) > 150
    for place, told, again in figures:
        assert told == (None if again is None else pytest.approx(again, rel=1e-5, abs=2e-6)), place


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
    norms = {attack.id: attack.norm for attack in result.attacks}
    n = len(result.samples)
    correct = [s.index for s in result.samples if s.correct]
    with np.load(run / "evidence.npz") as archive:
        for norm in {curve.norm for curve in result.curves}:
            near = sizes(archive, "nearest_", norm, norms)
            padded = np.sort([near.get(index, math.inf) for index in correct])
            eps = RADII[norm]
            metrics = [f"median_distance.{norm}", f"curve_area.{norm}"]
            metrics += [f"robust_accuracy.{norm}@{radius:.6g}" for radius in (eps, eps / 3, eps * 1.7)]
            median, area, *rates = evaluate_gates([GateSpec(metric=m, min=0.0) for m in metrics], result, [])
            middle = float(np.median(padded))
            assert median.value == (None if math.isinf(middle) else pytest.approx(middle, abs=2e-6))
            heights = [min(size / eps, 1.0) for size in padded] + [0.0] * (n - len(correct))
            assert area.value == pytest.approx(np.mean(heights), abs=1e-4)
            for gate, radius in zip(rates, (eps, eps / 3, eps * 1.7), strict=True):
                k = int((padded > radius + 1e-6).sum())
                assert (gate.observed.k, gate.observed.n) == (k, n)
                assert f"{beta.ppf(0.05, k, n - k + 1) if k else 0:.1%}" in gate.message or gate.status == "pass"
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
