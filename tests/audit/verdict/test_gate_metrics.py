"""Gates on every kind of metric, decided on hand-made results; exceptions and what fails."""

import math
from datetime import date

import numpy as np
import pytest
from results import make_attack, make_result

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.result.curves import build_curve
from robaudit.audit.result.document import Check, Nearest, Pairs, Sample, ThreatOutcome
from robaudit.audit.verdict.conclusion import conclude
from robaudit.audit.verdict.gates import Available, check_class_gates, check_gates, evaluate_gates
from robaudit.audit.verdict.readings import of_median
from robaudit.errors import UsageError
from robaudit.stats.rates import lower_bound, rate, upper_bound

EPS = 8 / 255


def decide(gate, result, unfit=()):
    return evaluate_gates([GateSpec.model_validate(gate)], result, unfit)[0]


def sample(index, label, *, right=True, broken=None, **changes):
    content = {
        "id": f"{index}.png",
        "index": index,
        "label": label,
        "clean_prediction": label if right else label + 1,
        "broken_by": broken,
        "distance": 0.02 if broken else None,
    }
    return Sample.model_validate(content | changes)


def of_classes(standing, fallen, **changes):
    """A result with samples of two classes: counts of those that stand and fell, by class."""
    samples = []
    for label in (0, 1):
        samples += [sample(len(samples) + i, label) for i in range(standing[label])]
        samples += [sample(len(samples) + i, label, broken="square") for i in range(fallen[label])]
    return make_result(samples=samples, data={"classes": ("cat", "a.b"), "drawn": len(samples)}, **changes)


def test_a_class_is_decided_on_its_own_samples():
    result = of_classes((80, 20), (20, 80))
    good, bad = decide("class.cat.robust_accuracy>=0.6", result), decide("class.a.b.robust_accuracy>=0.6", result)
    assert (good.status, good.observed) == ("pass", rate(80, 100))
    assert (bad.status, bad.observed) == ("fail", rate(20, 100))
    assert decide("class.1.robust_accuracy>=0.6", result).status == "fail"
    assert decide("class.cat.clean_accuracy>=0.9", result).status == "pass"
    assert decide("class.cat.robust_accuracy>=0.6", result, ["interrupted"]).status == "invalid"
    assert decide("class.a.b.robust_accuracy>=0.6", result, ["interrupted"]).status == "fail"


def test_the_size_that_decides_a_class_counts_all_samples_drawn():
    gate = decide("class.cat.robust_accuracy>=0.8", of_classes((9, 40), (1, 50)))
    alone = decide("robust_accuracy>=0.8", make_result(k=9, n=10))
    assert gate.samples_needed == alone.samples_needed * 10


def test_a_class_without_samples_decides_nothing():
    assert "no sample of class" in decide("class.cat.robust_accuracy>=0", of_classes((0, 5), (0, 5))).message
    assert decide("class.cat.stability>=0", of_classes((5, 5), (0, 0))).status == "invalid"
    assert decide("class.dog.robust_accuracy>=0", of_classes((5, 5), (0, 0))).status == "invalid"


def test_samples_that_do_not_count_are_of_no_class():
    samples = [sample(0, 0), sample(1, 0, counted=False), sample(2, 0, counted=False, left_out="x")]
    result = make_result(samples=samples)
    assert decide("class.0.robust_accuracy>=0", result).observed == rate(1, 1)
    assert decide("class.0.clean_accuracy>=0", result).observed == rate(2, 2)


def test_unknown_classes_are_refused_once_they_are_known():
    gates = [GateSpec.model_validate("class.cot.robust_accuracy>=0.5")]
    with pytest.raises(UsageError, match="no class 'cot'; did you mean 'cat'"):
        check_class_gates(gates, ("cat", "dog"), 2)
    with pytest.raises(UsageError, match="numbered from 0 to 1"):
        check_class_gates(gates, None, 2)
    check_class_gates([GateSpec.model_validate("class.1.robust_accuracy>=0.5")], ("cat", "dog"), 2)


def test_a_success_rate_that_is_too_high_fails_for_good():
    attacks = (make_attack("pgd", attempted=90, broken=60),)
    result = make_result(attacks=attacks)
    assert decide("attack.pgd.success_rate<=0.4", result, ["a check failed"]).status == "fail"
    assert decide("attack.pgd.success_rate<=0.8", result, ["a check failed"]).status == "invalid"
    assert decide("attack.pgd.success_rate<=0.8", result).status == "pass"
    nothing_left = make_result(attacks=(make_attack("pgd", attempted=0, broken=0),))
    assert decide("attack.pgd.success_rate<=0.8", nothing_left).status == "invalid"


@pytest.mark.parametrize("field", ["success_rate", "robust_accuracy", "mean_queries"])
@pytest.mark.parametrize("status", ["partial", "unavailable", "failed", "not run", "skipped"])
def test_an_attack_that_did_not_run_never_passes(field, status):
    attack = make_attack("pgd", status=status, reason="why", rate_alone=rate(90, 100))
    gate = decide({"metric": f"attack.pgd.{field}", "max": 1}, make_result(attacks=(attack,)))
    assert gate.status == "invalid"
    assert status in gate.message


def test_values_without_an_interval():
    result = make_result(
        worst_case={**make_result().worst_case.model_dump(), "pairs": Pairs(tried=9, reached=3, share=1 / 3)}
    )
    assert decide("attack.square.mean_queries<=600", result).value == pytest.approx(31_000 / 53)
    assert decide("attack.square.mean_queries<=500", result).status == "fail"
    assert decide("pairs_reached<=0.4", result).status == "pass"
    assert decide("pairs_reached<=0.3", result, ["interrupted"]).status == "fail"
    assert decide("pairs_reached<=0.4", make_result()).status == "invalid"


def with_curve(distances, wrong=0, norm="linf"):
    """A result whose samples have these smallest distances, infinite ones among them."""
    samples = [sample(i, 3, smallest_distance=None if math.isinf(d) else d) for i, d in enumerate(distances)]
    samples += [sample(len(samples) + i, 3, right=False) for i in range(wrong)]
    found = {i: d for i, d in enumerate(distances) if math.isfinite(d)}
    curve = build_curve(norm, EPS, found, len(distances), len(samples), ["pgd"])
    return make_result(samples=samples, curves=(curve,), data={"drawn": len(samples)})


def test_a_median_distance_has_the_interval_of_a_sign_test():
    distances = [0.01] * 20 + [0.05] * 60 + [math.inf] * 20
    result = with_curve(distances)
    gate = decide("median_distance>=0.02", result)
    assert (gate.status, gate.value) == ("pass", 0.05)
    assert decide("median_distance>=0.06", result).status == "fail"
    open_gate = decide("median_distance>=0.02", with_curve([0.01] * 45 + [0.05] * 55))
    assert open_gate.status == "inconclusive"
    k, n = 55 * open_gate.samples_needed // 100, open_gate.samples_needed
    assert lower_bound(k, n) >= 0.5 > lower_bound(55 * (n - 20) // 100, n - 20)


@pytest.mark.parametrize("n", [9, 40, 41])
def test_the_bounds_of_a_median_cover_it(n):
    rng = np.random.default_rng(0)
    missed = sum(of_median(list(rng.exponential(size=n)), "x").low(0.9) > math.log(2) for _ in range(4000))
    assert missed / 4000 <= 0.1 + 0.015


def test_half_of_the_samples_unbroken_is_a_median_beyond_all_that_was_found():
    gate = decide("median_distance>=0.02", with_curve([0.03] * 10 + [math.inf] * 90))
    assert (gate.status, gate.value) == ("pass", None)


def test_accuracy_at_another_radius_comes_from_the_curve():
    result = with_curve([0.01] * 30 + [0.05] * 50, wrong=20)
    assert decide("robust_accuracy@0.02>=0.4", result).observed == rate(50, 100)
    assert decide("robust_accuracy@5e-3>=0.7", result).observed == rate(80, 100)
    assert decide("robust_accuracy@0.06>=0.2", result).status == "fail"
    assert decide("robust_accuracy@8/255>=0.2", result).observed == result.worst_case.upper_bound_observed
    assert decide("robust_accuracy@0.02>=0.4", make_result()).status == "invalid"
    assert decide("stability@0.02>=0.4", result).status == "invalid"


def test_of_further_norms_too_the_samples_tell():
    distances = [0.01] * 30 + [0.05] * 50 + [math.inf] * 10
    base = with_curve(distances, wrong=10, norm="l2")
    nearest = [() if math.isinf(d) else (Nearest(attack="fmn", distance=d),) for d in [*distances, *[math.inf] * 10]]
    pairs = zip(base.samples, nearest, strict=True)
    samples = tuple(s.model_copy(update={"smallest_distance": None, "nearest": found}) for s, found in pairs)
    outcome = {"norm": "l2", "eps": 1.0, "eps_text": "1", "attacks": (), "broken": 80, "broken_here_alone": 0}
    outcome["upper_bound_observed"] = rate(10, 100)
    changes = {"samples": samples, "threats": (ThreatOutcome.model_validate(outcome),)}
    base = base.model_copy(update=changes | {"attacks": (make_attack("fmn", norm="l2", eps=1.0),)})
    assert decide("robust_accuracy.l2@0.03>=0.3", base).observed == rate(60, 100)
    assert decide("robust_accuracy.l2@100>=0.0001", base).observed == rate(10, 100)
    assert decide("median_distance.l2>=0.04", base).value == 0.05
    area = decide("curve_area.l2>=0.1", base)
    assert area.value == pytest.approx((30 * 0.01 / EPS + 50 + 10) / 100)
    assert area.status == "pass"


def test_the_area_under_the_curve():
    result = with_curve([EPS / 2] * 50 + [math.inf] * 50)
    gate = decide("curve_area>=0.5", result)
    assert (gate.status, gate.value) == ("pass", pytest.approx(0.75))
    assert decide("curve_area>=0.9", result).status == "fail"
    open_gate = decide("curve_area>=0.74", result)
    assert open_gate.status == "inconclusive"
    assert open_gate.samples_needed > 100
    assert decide("curve_area>=0.5", make_result()).status == "invalid"


def test_the_median_of_queries():
    result = make_result(samples=[sample(i, 3, queries=100 + i) for i in range(40)])
    assert decide("median_queries>=110", result).status == "pass"
    assert decide("median_queries<=110", result).status == "fail"
    assert decide("median_queries>=1", make_result()).status == "invalid"


def test_what_an_audit_cannot_have_is_refused_before_it():
    def refuse(text, words, **facts):
        with pytest.raises(UsageError, match=words):
            check_gates([GateSpec.model_validate(text)], Available(["pgd"], ["clean"], ["linf"], **facts))

    refuse("median_distance>=0.1", "--curve", curve=False)
    radii = {"linf": EPS}
    refuse("robust_accuracy@0.1>=0.1", "--curve", curve=False, radii=radii)
    refuse("stability.linf@4/255>=0.1", "--curve", curve=False, radii=radii)
    own = GateSpec.model_validate("robust_accuracy@8/255>=0.1")
    check_gates([own], Available(["pgd"], ["clean"], ["linf"], curve=False, radii=radii))
    refuse("regression<=0.1", "--baseline", baseline=False)
    refuse("newly_broken<=0", "--baseline", baseline=False)
    refuse("robust_accuracy.l2>=0.1", "attacks in linf alone")
    refuse("attack.pdg.success_rate<=0.1", "did you mean 'pgd'")


IGNORED = {"metric": "robust_accuracy", "min": 0.9, "ignore": {"reason": "known, #12", "until": "2025-06-30"}}


@pytest.mark.parametrize(
    ("day", "code", "active"), [((2025, 6, 30), 0, True), ((2025, 7, 1), 1, False), (None, 0, True)]
)
def test_an_exception_holds_until_its_day_is_over(day, code, active):
    """Without a day: that of the audit, 2025-01-01."""
    result = conclude(make_result(), [GateSpec.model_validate(IGNORED)], judged=date(*day) if day else None)
    assert (result.verdict.exit_code, result.gates[0].ignore.active) == (code, active)
    assert result.gates[0].status == "fail"
    assert result.verdict.judged == ("-".join(f"{part:02}" for part in day) if day else "2025-01-01")
    said = " ".join(result.verdict.reasons)
    assert ("ignored until 2025-06-30 (known, #12)" if active else "ended on 2025-06-30") in said


def test_without_exceptions_no_day_is_recorded():
    assert conclude(make_result(), [], judged=date(2025, 1, 1)).verdict.judged is None


FAILS = GateSpec.model_validate("robust_accuracy>=0.9")
WARNS = FAILS.model_copy(update={"level": "warn"})
OPEN = GateSpec.model_validate("robust_accuracy>=0.42")
LOST = Check(id="parity", status="fail", message="lost")


@pytest.mark.parametrize(
    ("fail_on", "gate", "changes", "code"),
    [
        ("error", FAILS, {}, 1),
        ("error", WARNS, {}, 0),
        ("warn", WARNS, {}, 1),
        ("warn", FAILS, {}, 1),
        ("never", FAILS, {}, 0),
        ("never", OPEN, {}, 0),
        ("never", FAILS, {"checks": (LOST,)}, 3),
        ("never", FAILS, {"run": {"failed": "killed"}}, 3),
        ("never", FAILS, {"run": {"interrupted": True}}, 130),
        ("never", FAILS, {"attacks": (make_attack("a", status="failed"),)}, 3),
        ("never", GateSpec.model_validate("attack.zz.success_rate<=1"), {}, 3),
    ],
)
def test_what_fails(fail_on, gate, changes, code):
    verdict = conclude(make_result(**changes), [gate], fail_on=fail_on).verdict
    assert verdict.exit_code == code
    assert code == 0 or verdict.reasons


def test_never_says_so_and_does_not_call_it_ok():
    verdict = conclude(make_result(), [FAILS], fail_on="never").verdict
    assert verdict.status == "failed"
    assert any("--fail-on never" in reason for reason in verdict.reasons)


def test_bounds_and_status_agree_for_a_share_of_a_class():
    for k in range(0, 41, 5):
        gate = decide("class.cat.robust_accuracy>=0.5", of_classes((k, 0), (40 - k, 1)))
        low, high = lower_bound(k, 40), upper_bound(k, 40)
        assert gate.status == ("pass" if low >= 0.5 else "fail" if high < 0.5 else "inconclusive")
