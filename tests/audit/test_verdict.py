import pytest
from results import make_attack, make_result

from robaudit.audit.profile import GateSpec
from robaudit.audit.result import Check
from robaudit.audit.verdict import conclude
from robaudit.stats import rate

ROBUST = GateSpec(metric="robust_accuracy", min=0.4)
WARN = GateSpec(metric="robust_accuracy", min=0.4, level="warn")
COVERAGE = GateSpec(metric="coverage", min=1)
VALIDITY = GateSpec(metric="validity")
HOLDS = Check(id="parity", status="pass", message="fine")
PARITY = Check(id="parity", status="fail", message="lost")
CLEAN = Check(id="clean", status="fail", message="2 of 100 right")
EVIDENCE = Check(id="evidence", status="fail", message="3 do not replay")
GONE = (make_attack("pgd"), make_attack("apgd-t", status="unavailable", reason="operator Foo"))


@pytest.mark.parametrize(
    ("draft", "gates", "status", "code"),
    [
        ({}, [], "ok", 0),
        ({"k": 60}, [ROBUST, COVERAGE, VALIDITY], "ok", 0),
        ({"k": 20}, [ROBUST], "failed", 1),
        ({"k": 20}, [WARN], "ok", 0),
        ({"k": 41}, [ROBUST], "inconclusive", 4),
        ({"k": 60, "run": {"interrupted": True}}, [ROBUST], "incomplete", 130),
        ({"k": 20, "run": {"interrupted": True}}, [ROBUST], "incomplete", 130),
        ({"k": 20, "checks": (CLEAN,)}, [ROBUST], "withheld", 3),
        ({"k": 20, "checks": (EVIDENCE,)}, [ROBUST], "withheld", 3),
        ({"k": 20, "run": {"failed": "killed"}}, [ROBUST], "incomplete", 3),
        ({"k": 20, "checks": (PARITY,)}, [ROBUST], "failed", 1),
        ({"k": 60, "checks": (PARITY,)}, [ROBUST], "withheld", 3),
        ({"k": 60, "checks": (PARITY,)}, [], "withheld", 3),
        ({"k": 20, "attacks": GONE}, [ROBUST, COVERAGE], "failed", 1),
        ({"k": 60, "attacks": GONE}, [ROBUST, COVERAGE], "incomplete", 3),
        ({"k": 60, "attacks": GONE}, [], "incomplete", 3),
        ({"k": 41, "attacks": GONE}, [ROBUST], "incomplete", 3),
        ({"k": 60, "attacks": ()}, [], "incomplete", 3),
        ({"k": 60, "target": {"assumed": ("[0, 1]",)}}, [ROBUST], "invalid", 3),
        ({"k": 60, "target": {"assumed": ("[0, 1]",)}}, [COVERAGE, VALIDITY], "ok", 0),
        ({"k": 60, "stability": True}, [ROBUST], "invalid", 3),
        ({"k": 0, "n": 0}, [ROBUST], "withheld", 3),
    ],
)
def test_precedence(draft, gates, status, code):
    verdict = conclude(make_result(**{"checks": (HOLDS,)} | draft), gates).verdict
    assert (verdict.status, verdict.exit_code) == (status, code)
    assert status == "ok" or verdict.reasons
    assert verdict.next_steps or status == "ok" or "attacks" in draft or draft["k"] == 0


@pytest.mark.parametrize(
    ("mode", "status", "code"), [("fail", "inconclusive", 4), ("warn", "ok", 0), ("pass", "ok", 0)]
)
def test_on_inconclusive(mode, status, code):
    verdict = conclude(make_result(), [ROBUST], mode).verdict
    assert (verdict.status, verdict.exit_code, bool(verdict.reasons)) == (status, code, mode != "pass")


@pytest.mark.parametrize("mode", ["warn", "pass"])
def test_on_inconclusive_never_excuses_an_assumed_input(mode):
    assert conclude(make_result(target={"assumed": ("x",)}), [ROBUST], mode).verdict.exit_code == 3


def test_a_sound_audit_shows_its_rate():
    result = conclude(make_result(), [])
    assert result.worst_case.robust_accuracy == rate(41, 100)
    assert result.worst_case.stability is None
    assert result.run.complete
    assert "at most 41.0% (41 of 100" in result.verdict.headline
    assert "L∞ ≤ 8/255" in result.verdict.headline


@pytest.mark.parametrize("draft", [{"checks": (PARITY,)}, {"attacks": GONE}, {"run": {"interrupted": True}}])
def test_an_unfit_audit_withholds_its_rate_and_keeps_what_it_saw(draft):
    result = conclude(make_result(**draft), [])
    assert result.worst_case.robust_accuracy is None
    assert result.worst_case.upper_bound_observed == rate(41, 100)


def test_a_failed_check_is_named_in_the_headline():
    headline = conclude(make_result(checks=(PARITY,)), []).verdict.headline
    assert headline.startswith("Headline withheld")
    assert "parity" in headline
    assert "41" not in headline


def test_stability_never_claims_robust_accuracy():
    result = conclude(make_result(stability=True), [])
    assert result.worst_case.robust_accuracy is None
    assert result.worst_case.stability == rate(41, 100)
    assert "robust accuracy" not in result.verdict.headline.lower()
    assert any("--data" in step for step in result.verdict.next_steps)


def test_concluding_again_changes_nothing():
    once = conclude(make_result(), [ROBUST, COVERAGE])
    assert conclude(once, [ROBUST, COVERAGE]) == once
    assert conclude(conclude(once, []), [ROBUST, COVERAGE]) == once


def test_the_next_steps_say_how_many_samples_and_whether_there_are_so_many():
    steps = conclude(make_result(k=41), [ROBUST]).verdict.next_steps
    assert any("--samples 6691" in step and "the data has 500" in step for step in steps)


def test_where_no_attack_serves_the_next_step_says_how_to_find_some():
    skipped = make_attack("pgd", status="skipped", reason="it searches in l1, l2 and linf, the threat model is l0")
    told = " ".join(conclude(make_result(attacks=(skipped,)), []).verdict.next_steps)
    assert "--profile union" in told
    assert "--profile union" not in " ".join(conclude(make_result(attacks=(skipped, GONE[0])), []).verdict.next_steps)
