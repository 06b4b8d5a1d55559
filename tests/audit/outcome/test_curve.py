"""The robustness curve: each sample's smallest verified distance, and what is made of them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_kit import Stopper, linear, near_the_middle, profile
from run_kit import make_data, make_onnx, make_request, outcome, records, run_here
from scipy.stats import binom

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.fronts import validate_curve
from robaudit.audit.result.curves import build_curve, median_with_interval
from robaudit.audit.result.document import Result
from robaudit.audit.session.distances import PRECISION, next_radius
from robaudit.engine.units import sample_of
from robaudit.errors import UsageError
from robaudit.stats.rates import interval, median_ranks
from robaudit.threat.arrays import TOLERANCE


def exact(norm: str, normal: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Distances of the hyperplane: the margin over the dual norm."""
    dual = {"linf": np.abs(normal).sum(), "l2": np.linalg.norm(normal), "l1": np.abs(normal).max()}[norm]
    return margins / dual


def at(curve: Any, eps: float) -> Any:
    return next(point for point in curve.points if point.eps == eps)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_curve_of_a_linear_model_is_the_closed_form(tmp_path: Path, norm: str) -> None:
    normal = linear(tmp_path / "m.onnx")
    margins = near_the_middle(tmp_path / "d.npz", normal)
    wanted = exact(norm, normal, margins)
    eps = float(np.median(wanted))
    request = make_request(
        tmp_path / "m.onnx", tmp_path / "d.npz", profile(tmp_path / "p.yaml", norm, eps=eps), batch_size=5
    )
    result = run_here(request, tmp_path / "run")
    [curve] = result.curves
    found = [s.smallest_distance for s in result.samples]
    assert found[:2] == [None, None]
    np.testing.assert_allclose(found[2:], wanted[2:], rtol=0.03)
    assert all(d >= w * (1 - 1e-4) for d, w in zip(found[2:], wanted[2:], strict=True))  # none nearer than the boundary
    assert (curve.broken, curve.unbroken) == (12, 0)
    assert curve.median_distance == pytest.approx(np.median(wanted[2:]), rel=0.03)
    assert curve.area == pytest.approx(np.minimum(wanted[2:], eps).sum() / 14, rel=0.03)
    assert [p.eps for p in curve.points] == sorted({p.eps for p in curve.points})
    for point in curve.points:
        stands = sum(d > point.eps + TOLERANCE for d in found[2:])
        low, high = interval(stands, 14)
        assert (point.k, point.n, point.low, point.high) == (stands, 14, low, high)
        assert point.estimate == stands / 14
    assert at(curve, 0).k == 12
    assert at(curve, eps).k == result.worst_case.upper_bound_observed.k
    assert result.verdict.status == "measured"


def test_in_l0_the_fewest_features_are_counted(tmp_path: Path) -> None:
    normal = linear(tmp_path / "m.onnx")
    margins = near_the_middle(tmp_path / "d.npz", normal)
    x = np.load(tmp_path / "d.npz")["x"].reshape(14, -1).astype(np.float64)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", profile(tmp_path / "p.yaml", "l0", attacks="[fmn]"))
    result = run_here(request, tmp_path / "run")
    sign = np.sign((x - 0.5) @ normal)
    for sample in result.samples[2:]:
        i = sample.index
        gains = np.maximum(0, np.where(-sign[i] * normal > 0, 1 - x[i], x[i]) * np.abs(normal))
        fewest = 1 + int(np.searchsorted(np.cumsum(np.sort(gains)[::-1]), margins[i]))
        assert sample.smallest_distance in (fewest, fewest + 1)
    [curve] = result.curves
    assert at(curve, 2).k == result.worst_case.upper_bound_observed.k
    assert not any(a.id.startswith("curve/apgd") for a in result.attacks)  # no attack of fixed radius in L0


def test_what_the_curve_breaks_within_eps_counts_in_the_worst_case_with_evidence(tmp_path: Path) -> None:
    normal = linear(tmp_path / "m.onnx")
    wanted = exact("l2", normal, near_the_middle(tmp_path / "d.npz", normal))
    eps = float(np.quantile(wanted[2:], 0.75)) * 1.03
    weak = "[{id: square, queries: 1}]"
    request = make_request(
        tmp_path / "m.onnx", tmp_path / "d.npz", profile(tmp_path / "p.yaml", "l2", attacks=weak, eps=eps)
    )
    result = run_here(request, tmp_path / "run")
    stands = int((wanted[2:] > eps).sum())
    assert result.worst_case.upper_bound_observed.k == at(result.curves[0], eps).k == stands < 12
    by = {s.broken_by for s in result.samples if s.broken_by}
    assert any(name.startswith("curve/") for name in by)
    newly = sum(a.newly_broken for a in result.attacks)
    assert newly == 12 - stands == result.evidence.count
    assert result.attacks[-1].cumulative_robust_accuracy.k == stands
    assert {c.id: c.status for c in result.checks}["evidence"] == "pass"


def test_a_breach_by_black_box_alone_counts_in_both(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    more = "curve: {attacks: [{id: fmn, steps: 1}], rounds: 0}"
    attacks = "[{id: square, queries: 200}]"
    request = make_request(
        tmp_path / "m.onnx", tmp_path / "d.npz", profile(tmp_path / "p.yaml", "linf", more, attacks, 0.03)
    )
    result = run_here(request, tmp_path / "run")
    alone = [s for s in result.samples if s.smallest_by == "square"]
    assert alone
    assert all(s.broken_by == "square" and s.smallest_distance <= 0.03 + TOLERANCE for s in alone)
    assert at(result.curves[0], 0.03).k == result.worst_case.upper_bound_observed.k
    assert "square" in result.curves[0].attacks


@pytest.mark.parametrize("units", [18, 35, 45, 54])
def test_an_interrupted_curve_goes_on_and_computes_nothing_twice(tmp_path: Path, units: int) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    more = "curve: {attacks: [deepfool, {id: fmn, steps: 10}], search: {id: apgd-ce, steps: 5}, rounds: 3}"
    path = profile(tmp_path / "p.yaml", "linf", more, "[fgsm]", 0.01)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=3)
    whole = run_here(request, tmp_path / "whole")
    assert len(records(tmp_path / "whole", "unit")) > 54
    part = run_here(request, tmp_path / "part", stop=Stopper(tmp_path / "part", units))
    assert part.run.interrupted
    assert at(part.curves[0], 0.01).k == part.worst_case.upper_bound_observed.k
    resumed = run_here(request, tmp_path / "part")
    assert outcome(resumed) == outcome(whole)
    keys = [(r["attack"], r["sample"], r["restart"], r["aim"]) for r in records(tmp_path / "part", "unit")]
    assert len(keys) == len(set(keys))


def assert_equal_samples(one: Result, other: Result) -> None:
    """What two audits say of each sample, up to the rounding that comes with the size of a batch."""
    for a, b in zip(one.samples, other.samples, strict=True):
        assert (a.broken_by, a.smallest_by) == (b.broken_by, b.smallest_by)
        if a.clean_prediction == a.label:
            assert a.smallest_distance == pytest.approx(b.smallest_distance, rel=1e-3)


def test_equal_at_any_batch_size(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    path = profile(tmp_path / "p.yaml", "l2", "curve: {attacks: [{id: fmn, steps: 10}], rounds: 3}", "[fgsm]", 0.05)
    found = [
        run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=size), tmp_path / str(size))
        for size in (1, 5, 16)
    ]
    for one, other in itertools.pairwise(found):
        assert_equal_samples(one, other)


def test_units_that_spare_one_another_do_not_make_the_curve_depend_on_the_batch(tmp_path: Path) -> None:
    """Of a cascade's attack the lowest successful unit counts, and of the search every one: none is released."""
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    attacks = "[{id: apgd-t, steps: 6, targets: 3}, {id: pgd, steps: 3, restarts: 4}]"
    search = "{id: apgd-t, steps: 4, targets: 3}"
    curve = f"curve: {{attacks: [{{id: fmn, steps: 10}}], search: {search}, rounds: 2}}"
    path = profile(tmp_path / "p.yaml", "linf", curve, attacks, 0.05)
    found = {}
    for size in (1, 16):
        request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path, batch_size=size)
        found[size] = run_here(request, tmp_path / str(size))
        units = records(tmp_path / str(size), "unit")
        assert len(units) > 60
        rounds: dict[tuple[str, int, int], int] = {}
        for unit in units:
            if unit["sought"] is not None and unit["attack"] != "curve/fmn":
                key = unit["attack"], unit["sample"], unit["restart"]
                rounds[key] = rounds.get(key, 0) + 1
        assert set(rounds.values()) == {3}
    assert_equal_samples(found[1], found[16])


def test_of_the_curves_units_the_nearest_is_told_and_kept_as_evidence(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    weak = "[{id: square, queries: 1}]"
    curve = "curve: {attacks: [{id: fab-t, steps: 8, targets: 3}], rounds: 0}"
    path = profile(tmp_path / "p.yaml", "linf", curve, weak, 0.2)
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path)
    result = run_here(request, tmp_path / "run")
    by_curve = {s.index: s for s in result.samples if s.broken_by == "curve/fab-t"}
    units = [r for r in records(tmp_path / "run", "unit") if r["attack"] == "curve/fab-t"]
    first = {s: min((r for r in units if r["sample"] == s), key=lambda r: r["aim"]) for s in by_curve}
    assert any(first[s]["distance"] > 1.01 * sample.distance for s, sample in by_curve.items())
    archive = np.load(tmp_path / "run" / "evidence.npz")
    for index, sample in by_curve.items():
        nearest = min(r["distance"] for r in units if r["sample"] == index and r["sought"]["verified"])
        assert sample.distance == sample.smallest_distance == nearest
        row = archive["index"].tolist().index(index)
        moved = np.abs(archive["adversarial"][row].astype(float) - archive["original"][row]).max()
        assert moved == pytest.approx(nearest, abs=1e-6)


def test_without_a_curve_nothing_of_it_is_told(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    path = profile(tmp_path / "p.yaml", "linf", "")
    result = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path), tmp_path / "run")
    assert result.curves == ()
    assert '"curves"' not in result.to_json()
    assert [a.id for a in result.attacks] == ["fgsm"]
    assert "curve" not in load_profile(str(path)).model_dump()
    off = profile(tmp_path / "off.yaml", "linf", "curve: false")
    assert load_profile(str(off)).digest() == load_profile(str(path)).digest()


def test_a_profile_takes_the_curve_of_its_base_or_drops_it(tmp_path: Path) -> None:
    base = profile(tmp_path / "base.yaml", "linf", "curve: {rounds: 2}")
    for name, line, rounds in (
        ("a", "curve: true", 2),
        ("b", "curve: {rounds: 1}", 1),
        ("c", "", 2),
        ("d", "curve: false", None),
    ):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"name: {name}\nextends: {base}\n{line}\n")
        curve = load_profile(str(path)).curve
        assert (curve.rounds if curve else None) == rounds


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ("{attacks: [pgd]}", r"line \d+ of .*p.yaml: curve.attacks.0: pgd has a fixed radius"),
        ("{search: {id: fmn}}", r"line \d+ of .*p.yaml: curve.search: fmn has no fixed radius"),
        ("{attacks: [{id: fmn, stepz: 3}]}", r"line \d+ of .*p.yaml: curve.attacks.0.stepz: attack 'fmn' has no"),
        ("{attacks: [fnm]}", r"line \d+ of .*p.yaml: curve.attacks.0: unknown attack 'fnm'"),
    ],
)
def test_attacks_that_cannot_play_their_part_are_refused(tmp_path: Path, curve: str, message: str) -> None:
    path = profile(tmp_path / "p.yaml", "linf", f"curve: {curve}")
    with pytest.raises(UsageError, match=message):
        validate_curve(load_profile(str(path)))


def test_bisection_closes_in_on_a_known_boundary() -> None:
    boundary, distance, floor, successes = 0.37, 0.8, 0.0, 0
    for _ in range(30):
        radius = next_radius(distance, floor, successes, start=0.05, most=1.0)
        if radius is None:
            break
        assert floor < radius < distance
        if radius >= boundary:
            distance, successes = radius, successes + 1
        else:
            floor = radius
    assert radius is None
    assert boundary <= distance <= boundary * (1 + 2 * PRECISION)


def test_bisection_widens_where_no_distance_is_known() -> None:
    found, floor = [], 0.0
    while (radius := next_radius(None, floor, 0, start=0.05, most=1.0)) is not None:
        found.append(radius)
        floor = radius
    assert found == [0.1, 0.2, 0.4, 0.8, 1.0]


def test_median_ranks_hold_their_confidence() -> None:
    assert median_ranks(5) is None  # 2 / 2**5 is more than 5 %
    for n in (6, 7, 20, 101, 1000):
        low, high = median_ranks(n)
        assert low + high == n - 1
        assert 2 * binom.cdf(low, n, 0.5) <= 0.05 < 2 * binom.cdf(low + 1, n, 0.5)


def test_a_median_beyond_what_was_broken_is_unknown() -> None:
    ordered = [0.1 * i for i in range(1, 8)] + [math.inf] * 3
    assert median_with_interval(ordered)[0] == pytest.approx(0.55)
    assert median_with_interval(ordered)[1:] == (pytest.approx(0.2), None)
    assert median_with_interval([0.1, math.inf]) == (None, None, None)
    assert median_with_interval([]) == (None, None, None)


def test_no_sample_no_curve_to_speak_of() -> None:
    curve = build_curve("linf", 0.1, {}, 0, 0, [])
    assert [p.eps for p in curve.points][:3] == [0.0, 0.02, 0.04]
    assert curve.points[0].estimate is None
    assert curve.area is None


@pytest.mark.parametrize(("norm", "names"), [("l2", ["hopskipjump", "square"]), ("l1", ["square"])])
def test_a_file_without_a_gradient_has_a_curve_of_what_it_answers(tmp_path: Path, norm: str, names: list[str]) -> None:
    make_onnx(tmp_path / "m.onnx", extra="foreign")
    make_data(tmp_path / "d.npz")
    path = profile(tmp_path / "p.yaml", norm, "curve: {rounds: 2}", "[{id: square, queries: 30}]", 0.1)
    result = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path), tmp_path / "run")
    assert [a.id for a in result.attacks] == ["square", *(f"curve/{name}" for name in names)]
    assert {a.status for a in result.attacks} == {"done"}
    [curve] = result.curves
    assert curve.broken > 0
    assert at(curve, 0.1).k == result.worst_case.upper_bound_observed.k


def test_with_several_goals_the_nearest_class_counts(tmp_path: Path) -> None:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz")
    path = tmp_path / "p.yaml"
    path.write_text(
        "name: every\nthreat: {norm: linf, eps: 0.02, goal: every}\nattacks: [fgsm]\nchecks: [clean, evidence]\n"
        "curve: {attacks: [{id: fmn, steps: 20}], rounds: 1}\n"
    )
    result = run_here(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", path), tmp_path / "run")
    [curve] = result.curves
    assert at(curve, 0.02).k == result.worst_case.upper_bound_observed.k
    assert curve.broken == 14
    units = [r for r in records(tmp_path / "run", "unit") if (r["sought"] or {"verified": r["success"]})["verified"]]
    for sample in result.samples[2:]:
        own = [r["distance"] for r in units if sample_of(r["sample"]) == sample.index]
        assert sample.smallest_distance == pytest.approx(min(own), abs=1e-6)
