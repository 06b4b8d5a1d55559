from datetime import date
from typing import get_args

import pytest
from results import make_attack, make_result

from robaudit.audit.config.gatespecs import IgnoreSpec
from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import Check
from robaudit.audit.result.sections.verdict import MEANINGS, Verdict, VerdictStatus
from robaudit.audit.verdict.conclusion import conclude
from robaudit.stats.rates import rate

ROBUST = GateSpec(metric="robust_accuracy", min=0.4)
WARN = GateSpec(metric="robust_accuracy", min=0.4, level="warn")
WARN_HIGH = GateSpec(metric="clean_accuracy", min=0.99, level="warn")
COVERAGE = GateSpec(metric="coverage", min=1)
VALIDITY = GateSpec(metric="validity")
HOLDS = Check(id="parity", status="pass", message="fine")
PARITY = Check(id="parity", status="fail", message="lost")
CLEAN = Check(id="clean", status="fail", message="2 of 100 right")
EVIDENCE = Check(id="evidence", status="fail", message="3 do not replay")
GONE = (make_attack("pgd"), make_attack("apgd-t", status="unavailable", reason="operator Foo"))


ASSUMED = {"assumed": ("the range is [0, 1]",)}
STABLE = GateSpec(metric="stability", min=0.4)
CLEAN_GATE = GateSpec(metric="clean_accuracy", min=0.5)
IGNORED = GateSpec(metric="robust_accuracy", min=0.4, ignore=IgnoreSpec(reason="known", until=date(2030, 1, 1)))
OVER = GateSpec(metric="robust_accuracy", min=0.4, ignore=IgnoreSpec(reason="known", until=date(2020, 1, 1)))


@pytest.mark.parametrize(
    ("draft", "gates", "status", "code"),
    [
        ({}, [], "measured", 0),
        ({"k": 0}, [], "measured", 0),
        ({}, [COVERAGE, VALIDITY], "measured", 0),
        ({"stability": True}, [], "measured", 0),
        ({"stability": True}, [COVERAGE], "measured", 0),
        ({"k": 60, "stability": True}, [STABLE], "passed", 0),
        ({"k": 20, "stability": True}, [STABLE], "failed", 1),
        ({"k": 60}, [ROBUST, COVERAGE, VALIDITY], "passed", 0),
        ({"k": 60}, [ROBUST, WARN_HIGH], "passed", 0),
        ({"k": 20}, [ROBUST], "failed", 1),
        ({"k": 20}, [CLEAN_GATE, ROBUST], "failed", 1),
        ({"k": 20}, [WARN], "measured", 0),
        ({"k": 60}, [WARN], "measured", 0),
        ({"k": 20}, [IGNORED], "measured", 0),
        ({"k": 20}, [IGNORED, CLEAN_GATE], "passed", 0),
        ({"k": 20}, [OVER], "failed", 1),
        ({"k": 41}, [ROBUST], "undecided", 4),
        ({"k": 41}, [ROBUST, CLEAN_GATE], "undecided", 4),
        ({"k": 60, "run": {"interrupted": True}}, [ROBUST], "interrupted", 130),
        ({"k": 20, "run": {"interrupted": True}}, [ROBUST], "interrupted", 130),
        ({"k": 20, "checks": (CLEAN,)}, [ROBUST], "withheld", 3),
        ({"k": 20, "checks": (EVIDENCE,)}, [ROBUST], "withheld", 3),
        ({"k": 20, "run": {"failed": "killed"}}, [ROBUST], "incomplete", 3),
        ({"k": 20, "checks": (PARITY,)}, [ROBUST], "failed", 1),
        ({"k": 60, "checks": (PARITY,)}, [ROBUST], "withheld", 3),
        ({"k": 60, "checks": (PARITY,)}, [], "withheld", 3),
        ({"k": 60, "checks": (PARITY,), "target": ASSUMED}, [], "withheld", 3),
        ({"k": 20, "attacks": GONE}, [ROBUST, COVERAGE], "failed", 1),
        ({"k": 60, "attacks": GONE}, [ROBUST, COVERAGE], "incomplete", 3),
        ({"k": 60, "attacks": GONE}, [], "incomplete", 3),
        ({"k": 41, "attacks": GONE}, [ROBUST], "incomplete", 3),
        ({"k": 60, "attacks": ()}, [], "incomplete", 3),
        ({"k": 60, "target": ASSUMED}, [], "assumed input", 0),
        ({"k": 60, "target": ASSUMED}, [ROBUST], "assumed input", 3),
        ({"k": 60, "target": ASSUMED}, [COVERAGE, VALIDITY], "assumed input", 0),
        ({"k": 60, "target": ASSUMED}, [ROBUST, GateSpec(metric="check.output-head")], "invalid", 3),
        ({"k": 60, "target": ASSUMED}, [WARN], "assumed input", 0),
        ({"k": 60, "target": ASSUMED, "stability": True}, [], "assumed input", 0),
        ({"k": 20, "target": ASSUMED}, [ROBUST], "failed", 1),
        ({"k": 60, "stability": True}, [ROBUST], "invalid", 3),
        ({"k": 0, "n": 0}, [ROBUST], "withheld", 3),
    ],
)
def test_word_and_exit_code(draft, gates, status, code):
    verdict = conclude(make_result(**{"checks": (HOLDS,)} | draft), gates).verdict
    assert (verdict.status, verdict.exit_code) == (status, code)
    assert (verdict.word, verdict.meaning) == (status.upper(), MEANINGS[status])
    assert status in ("measured", "passed") or verdict.reasons
    assert verdict.next_steps or status in ("measured", "passed") or "attacks" in draft or draft["k"] == 0


@pytest.mark.parametrize("mode", ["fail", "warn", "pass"])
def test_an_undecided_gate_is_never_called_passed(mode):
    for gates in ([ROBUST], [ROBUST, CLEAN_GATE]):
        verdict = conclude(make_result(), gates, mode).verdict
        assert (verdict.status, verdict.exit_code) == ("undecided", 4 if mode == "fail" else 0)
        assert verdict.reasons[0].startswith("gate on robust_accuracy")
        assert any(f"--on-inconclusive {mode}" in reason for reason in verdict.reasons) == (mode != "fail")


@pytest.mark.parametrize(
    ("k", "gate", "fail_on", "status", "code"),
    [
        (20, "error", "never", "failed", 0),
        (41, "error", "never", "undecided", 0),
        (60, "error", "never", "passed", 0),
        (20, "warn", "never", "measured", 0),
        (20, "warn", "warn", "failed", 1),
        (60, "warn", "warn", "passed", 0),
        (41, "warn", "warn", "undecided", 4),
    ],
)
def test_which_gates_decide_changes_no_finding(k, gate, fail_on, status, code):
    verdict = conclude(make_result(k=k), [WARN if gate == "warn" else ROBUST], fail_on=fail_on).verdict
    assert (verdict.status, verdict.exit_code) == (status, code)
    told = "no gate decides the exit code (--fail-on never)" in verdict.reasons
    assert told == (fail_on == "never" and status in ("failed", "undecided"))


def test_every_status_has_a_meaning_and_a_file_cannot_give_it_another():
    assert set(MEANINGS) == set(get_args(VerdictStatus))
    forged = Verdict.model_validate(
        {"status": "failed", "word": "PASSED", "meaning": "fine", "headline": "x", "exit_code": 0}
    )
    assert (forged.word, forged.meaning) == ("FAILED", MEANINGS["failed"])


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
    assert any("--until-decided --samples 17200" in step and "the data hold 500" in step for step in steps)


def test_where_no_attack_serves_the_next_step_says_how_to_find_some():
    skipped = make_attack("pgd", status="skipped", reason="it searches in l1, l2 and linf, the threat model is l0")
    told = " ".join(conclude(make_result(attacks=(skipped,)), []).verdict.next_steps)
    assert "--profile union" in told
    assert "--profile union" not in " ".join(conclude(make_result(attacks=(skipped, GONE[0])), []).verdict.next_steps)


@pytest.mark.parametrize(
    ("k", "gates", "first"),
    [
        (
            20,
            [GateSpec(metric="robust_accuracy", min=0.4), GateSpec(metric="clean_accuracy", min=0.95)],
            "look at the adv",
        ),
        (
            60,
            [GateSpec(metric="clean_accuracy", min=0.999), GateSpec(metric="robust_accuracy", min=0.6)],
            "the model answers",
        ),
    ],
)
def test_after_a_failure_the_first_step_is_about_it(k, gates, first):
    verdict = conclude(make_result(k=k), gates).verdict
    assert verdict.status == "failed"
    assert verdict.next_steps[0].startswith(first)


def test_a_gate_that_an_exception_covers_asks_for_nothing():
    assert not any("harden" in step for step in conclude(make_result(k=20), [IGNORED, CLEAN_GATE]).verdict.next_steps)


def test_the_gate_that_is_advised_can_be_decided():
    for stability, metric in ((False, "robust_accuracy"), (True, "stability")):
        steps = conclude(make_result(stability=stability), [COVERAGE]).verdict.next_steps
        [advice] = [step for step in steps if "set a gate of your own" in step]
        assert ("--min-robust" in advice) == (metric == "robust_accuracy")
        assert (f"{metric}>=" in advice) == stability
        assert conclude(make_result(stability=stability), [GateSpec(metric=metric, min=0.1)]).verdict.status == "passed"
