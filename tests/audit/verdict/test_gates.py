import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import make_attack, make_result

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import Check
from robaudit.audit.verdict.gates import Available, check_gates, coverage, evaluate_gates
from robaudit.errors import UsageError
from robaudit.stats.rates import lower_bound, rate, upper_bound


def decide(gate, result, unfit=()):
    return evaluate_gates([GateSpec(**gate)], result, unfit)[0]


ROBUST = {"metric": "robust_accuracy", "min": 0.4}


@pytest.mark.parametrize(
    ("k", "status"),
    [(60, "pass"), (49, "pass"), (41, "inconclusive"), (35, "inconclusive"), (20, "fail"), (0, "fail")],
)
def test_a_minimum_is_decided_by_the_exact_bounds(k, status):
    gate = decide(ROBUST, make_result(k=k))
    assert gate.status == status
    assert (gate.samples_needed is not None) == (status == "inconclusive")
    assert gate.observed == rate(k, 100)


@given(st.integers(0, 100), st.floats(0.01, 0.99), st.sampled_from([0.9, 0.95, 0.99]))
def test_status_and_bounds_agree(k, bound, confidence):
    gate = decide(ROBUST | {"min": bound, "confidence": confidence}, make_result(k=k))
    low, high = lower_bound(k, 100, confidence), upper_bound(k, 100, confidence)
    assert gate.status == ("pass" if low >= bound else "fail" if high < bound else "inconclusive")


def test_the_size_said_to_decide_decides():
    gate = decide(ROBUST, make_result(k=45))
    more = make_result(k=gate.samples_needed * 45 // 100, n=gate.samples_needed)
    assert decide(ROBUST, more).status == "pass"


def test_an_unfit_audit_fails_but_never_passes():
    assert decide(ROBUST, make_result(k=20), ["interrupted"]).status == "fail"
    for k in (41, 99):
        gate = decide(ROBUST, make_result(k=k), ["interrupted"])
        assert (gate.status, gate.message) == ("invalid", "cannot pass: interrupted")


def test_an_assumed_input_never_passes():
    assumed = {"assumed": ("[0, 1] was assumed",)}
    for k in (41, 99):
        assert decide(ROBUST, make_result(k=k, target=assumed)).status == "invalid"
    assert decide(ROBUST, make_result(k=20, target=assumed)).status == "fail"
    clean = {"metric": "clean_accuracy", "min": 0.5}
    assert decide(clean, make_result(target=assumed)).status == "invalid"


@pytest.mark.parametrize("check", ["clean", "determinism", "evidence"])
def test_doubtful_evidence_decides_nothing(check):
    checks = (Check(id=check, status="fail", message="bad"),)
    for k in (20, 99):
        assert decide(ROBUST, make_result(k=k, checks=checks)).status == "invalid"


def test_stability_is_not_robust_accuracy():
    assert decide(ROBUST, make_result(k=99, stability=True)).status == "invalid"
    assert decide({"metric": "stability", "min": 0.4}, make_result(k=99, stability=True)).status == "pass"
    assert decide({"metric": "stability", "min": 0.4}, make_result(k=99)).status == "invalid"
    assert decide({"metric": "clean_accuracy", "min": 0.4}, make_result(stability=True)).status == "invalid"


def test_both_bounds():
    gate = ROBUST | {"max": 0.7}
    assert decide(gate, make_result(k=55)).status == "pass"
    assert decide(gate, make_result(k=99)).status == "fail"
    assert decide(gate, make_result(k=68)).status == "inconclusive"
    assert decide(gate, make_result(k=99), ["interrupted"]).status == "invalid"


def test_a_bound_met_exactly_is_never_decided_by_size():
    gate = decide(ROBUST, make_result(k=40))
    assert (gate.status, gate.samples_needed) == ("inconclusive", None)


@pytest.mark.parametrize("status", ["partial", "unavailable", "failed", "not run", "skipped"])
def test_a_gate_over_an_attack_that_did_not_run_never_passes(status):
    result = make_result(attacks=(make_attack("pgd", status=status, rate_alone=rate(90, 100)),))
    for field in ("rate_alone", "cumulative_robust_accuracy", "median_distance"):
        gate = decide({"metric": f"attacks.pgd.{field}", "min": 0.001}, result)
        assert gate.status == "invalid"
        assert status in gate.message
    assert decide({"metric": "attacks.fgsm.rate_alone", "min": 0}, result).status == "invalid"


def test_gates_on_one_attack():
    result = make_result()
    assert decide({"metric": "attacks.apgd-ce.rate_alone", "min": 0.4}, result).status == "pass"
    assert decide({"metric": "attacks.square.rate_alone", "min": 0.1}, result).status == "invalid"
    assert decide({"metric": "attacks.square.median_distance", "min": 0.03}, result).status == "pass"
    assert decide({"metric": "attacks.square.median_distance", "min": 0.04}, result).status == "fail"


def test_coverage_counts_what_applies():
    attacks = (
        make_attack("a"),
        make_attack("b", status="skipped", reason="no surrogate"),
        make_attack("c", status="unavailable", reason="Foo"),
    )
    assert coverage(attacks) == (1, 2)
    result = make_result(attacks=attacks)
    gate = decide({"metric": "coverage", "min": 1}, result)
    assert (gate.status, gate.value) == ("fail", 0.5)
    assert "c unavailable" in gate.message
    assert decide({"metric": "coverage", "min": 0.5}, result).status == "pass"
    assert decide({"metric": "coverage", "min": 1}, make_result(attacks=attacks[1:2])).status == "invalid"


def test_gates_on_checks():
    checks = (
        Check(id="parity", status="fail", message="lost"),
        Check(id="unbounded", status="skipped", message="no attack"),
        Check(id="clean", status="pass", message="fine"),
    )
    result = make_result(checks=checks)
    assert decide({"metric": "validity"}, result).status == "fail"
    assert decide({"metric": "validity"}, make_result(checks=checks[2:])).status == "pass"
    assert decide({"metric": "validity"}, make_result(checks=())).status == "invalid"
    assert decide({"metric": "checks.parity"}, result).status == "fail"
    assert decide({"metric": "checks.unbounded"}, result).status == "invalid"
    assert decide({"metric": "checks.clean"}, result).status == "pass"
    assert decide({"metric": "checks.evidence"}, result).status == "invalid"


def test_gates_over_what_the_profile_lacks_are_refused_before_the_audit():
    gates = [GateSpec(metric="attacks.squara.rate_alone", min=0.1)]
    with pytest.raises(UsageError, match="no attack 'squara'; did you mean 'square'"):
        check_gates(gates, Available(["pgd", "square"], []))
    with pytest.raises(UsageError, match="no check 'parity'"):
        check_gates([GateSpec(metric="checks.parity")], Available([], ["clean"]))
    check_gates([GateSpec(metric="coverage", min=1)], Available([], []))
