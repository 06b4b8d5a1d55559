"""Testing a model again: all tests together keep a gate's confidence, whichever advice is followed."""

from __future__ import annotations

import importlib.util
import json
import sys
from bisect import bisect_left
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results import make_attack, make_result
from run_kit import load, make_data, make_onnx, make_profile, make_request, scan, with_settings
from scipy.stats import binom

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.keys import run_key
from robaudit.audit.journal.records.session import Remark
from robaudit.audit.result.document import EarlierTests, Result
from robaudit.audit.run.identity import identity_of
from robaudit.audit.run.rundir import FILES
from robaudit.audit.run.tested import TESTS, Begun, begin_test, end_test, keep_test, subject_of
from robaudit.audit.verdict.conclusion import conclude
from robaudit.audit.verdict.readings import of_rate
from robaudit.audit.verdict.retests import further_test, standing_of
from robaudit.stats.looks import decide, design, error_spent
from robaudit.stats.rates import lower_bound, rate

FIGURE = f"robust_accuracy.linf@{8 / 255:.12g}"
ROBUST = GateSpec(metric="robust_accuracy", min=0.4)


def earlier(error: float, tests: int = 1, figure: str = FIGURE, allowed: float = 0.05) -> tuple[EarlierTests, ...]:
    return (EarlierTests(figure=figure, tests=tests, error=error, allowed=allowed),)


@cache
def benchmark() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "error_rates.py"
    spec = importlib.util.spec_from_file_location("error_rates", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["error_rates"] = module
    spec.loader.exec_module(module)
    return module


@settings(deadline=None)
@given(st.integers(1, 300), st.floats(0.02, 0.98), st.sampled_from([0.05, 0.01, 0.2]))
def test_what_one_look_spends_is_the_exact_size_of_the_test(n: int, bound: float, error: float) -> None:
    found = [decide(k, n, 1.0, least=bound, false_pass=error, false_fail=error) for k in range(n + 1)]
    sides = [sum(binom.pmf(k, n, bound) for k in range(n + 1) if found[k] == side) for side in ("pass", "fail")]
    assert error_spent([n], [1.0], bound, error) == pytest.approx(max(sides), rel=1e-6, abs=1e-12)
    assert error_spent([n], [1.0], bound, error) <= error


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 250), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_what_several_looks_spend_is_what_simulation_finds(most: int, bound: float, seed: int) -> None:
    plan, runs = design(most), 4000
    counts = (np.random.default_rng(seed).random((runs, most)) < bound).cumsum(1)
    passes, fails = np.zeros(runs, bool), np.zeros(runs, bool)
    for size, share in zip(plan.sizes, plan.shares, strict=True):
        found = np.array([decide(k, size, share, least=bound) for k in range(size + 1)])
        passes |= (found == "pass")[counts[:, size - 1]]
        fails |= (found == "fail")[counts[:, size - 1]]
    spent = error_spent(plan.sizes, plan.shares, bound, 0.05)
    assert abs(max(passes.mean(), fails.mean()) - spent) < 6 * (spent * (1 - spent) / runs) ** 0.5 + 1e-3
    assert spent <= 0.05


def test_bounds_that_cannot_be_crossed_spend_nothing() -> None:
    assert error_spent([100], [1.0], 0.0, 0.05) == error_spent([100], [1.0], 1.0, 0.05) == 0.0
    assert error_spent([0], [1.0], 0.5, 0.05) == error_spent([], [], 0.5, 0.05) == 0.0
    assert error_spent([30_000, 50_000], [0.5, 0.5], 0.5, 0.05) == 0.05  # too many to compute: all of it


def test_a_first_test_is_decided_as_ever_and_a_further_one_at_what_is_left() -> None:
    for k, status in ((49, "pass"), (41, "inconclusive"), (31, "fail")):
        assert conclude(make_result(k=k), [ROBUST]).gates[0].status == status
    first = conclude(make_result(k=41), [ROBUST]).gates[0]
    assert first.spent == pytest.approx(binom.sf(48, 100, 0.4))
    assert first.further_confidence == pytest.approx(0.95 + first.spent, abs=1e-6)
    assert first.further_confidence >= 0.95 + first.spent
    again = conclude(make_result(k=49, earlier=earlier(first.spent)), [ROBUST]).gates[0]
    assert (again.status, again.earlier) == ("inconclusive", 1)
    assert "an earlier test of the same model and data counted in, so that this one is held to 99.23%" in again.message
    size = first.further_samples
    assert size is not None
    assert size > first.samples_needed
    clear = conclude(make_result(k=55, earlier=earlier(first.spent)), [ROBUST]).gates[0]
    assert clear.status == "pass"
    assert first.spent + clear.spent <= 0.05


def test_the_number_that_is_said_decides_a_further_audit_at_its_last_look() -> None:
    first = conclude(make_result(k=45), [ROBUST]).gates[0]
    size, confidence = first.further_samples, first.further_confidence
    assert size is not None
    assert confidence is not None
    plan, k = design(size), 45 * size // 100
    errors = {"false_pass": 1 - confidence, "false_fail": 1 - confidence}
    assert decide(k, size, plan.shares[-1], least=0.4, **errors) == "pass"
    assert decide(45 * (size - 20) // 100, size - 20, plan.shares[-1], least=0.4, **errors) == "open"


def test_a_gate_whose_error_is_spent_stays_open_and_says_so() -> None:
    for k in (0, 41, 100):
        found = conclude(make_result(k=k, earlier=earlier(0.05, tests=3)), [ROBUST])
        gate = found.gates[0]
        assert (gate.status, gate.earlier, gate.samples_needed) == ("inconclusive", 3, None)
        assert gate.message.endswith("the error of this gate was spent by 3 earlier tests of the same model and data")
        assert found.verdict.exit_code == 4
        assert any("no further one can decide it" in step for step in found.verdict.next_steps)


def test_only_tests_of_the_same_figure_count_however_it_is_named() -> None:
    other = earlier(0.05, figure="clean_accuracy")
    assert conclude(make_result(k=60, earlier=other), [ROBUST]).gates[0].status == "pass"
    for name in ("robust_accuracy.linf", "robust_accuracy@8/255", "robust_accuracy.linf@8/255"):
        gate = GateSpec(metric=name, min=0.4)
        assert conclude(make_result(k=60, earlier=earlier(0.05)), [gate]).gates[0].earlier in (0, 1)
        assert standing_of(gate, earlier(0.03), {"linf": 8 / 255}).error == pytest.approx(0.02)


def test_a_confidence_that_was_written_for_a_further_test_is_not_spent_twice() -> None:
    first = conclude(make_result(k=41), [ROBUST]).gates[0]
    assert first.further_confidence is not None
    written = GateSpec(metric="robust_accuracy", min=0.4, confidence=first.further_confidence)
    standing = standing_of(written, earlier(first.spent), {"linf": 8 / 255})
    assert standing.share == pytest.approx(1, abs=1e-3)
    assert standing_of(ROBUST, earlier(0.01, allowed=0.2), {"linf": 8 / 255}).error == pytest.approx(0.05)


def test_what_has_no_exact_size_is_told_and_not_advised() -> None:
    attack = make_attack("square")
    mean = GateSpec(metric="newly_broken", max=1)
    assert conclude(make_result(attacks=(attack,), earlier=earlier(0.05)), [mean]).gates[0].earlier == 0


def test_no_advice_draws_more_samples_at_the_whole_error() -> None:
    for k in (35, 41, 45):
        found = conclude(make_result(k=k), [ROBUST])
        steps = " ".join(found.verdict.next_steps)
        assert "draw more samples" not in steps
        assert f"write confidence: {found.gates[0].further_confidence:.10g}" in steps
        assert f"--samples {found.gates[0].samples_needed} " not in steps


@pytest.fixture
def request_of(tmp_path: Path) -> AuditRequest:
    make_onnx(tmp_path / "m.onnx")
    make_data(tmp_path / "d.npz", 20)
    return make_request(tmp_path / "m.onnx", tmp_path / "d.npz", make_profile(tmp_path / "p.yaml"))


def audited(folder: Path, request: AuditRequest, result: Result) -> tuple[EarlierTests, ...]:
    """An audit as its run directory sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    run = identity_of(request).run_id
    run_key(run)  # makes the user's, as an audit does
    begun = begin_test(folder, run, subject_of(request), Journal(None))
    end_test(folder, run, begun, result)
    return begun.before


def test_run_directories_tell_of_tests(
    tmp_path: Path, request_of: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs, result = tmp_path / ".robaudit", conclude(make_result(k=41), [ROBUST])
    spent = result.gates[0].spent
    assert spent is not None
    assert audited(runs / "a", request_of, result) == ()
    assert audited(runs / "a", request_of, result) == ()  # the same audit again is no further test
    found = audited(runs / "b", with_settings(request_of, seed=1), result)
    assert [(t.figure, t.tests) for t in found] == [(FIGURE, 1)]
    assert found[0].error == pytest.approx(spent)
    assert audited(runs / "a", request_of, result) == ()  # what came after it does not count
    assert audited(tmp_path / "elsewhere" / "c", with_settings(request_of, seed=2), result)[0].tests == 2
    assert audited(tmp_path / "elsewhere" / "d", with_settings(request_of, seed=3), result)[0].tests == 3
    more = request_of.profile.model_copy(update={"data": request_of.profile.data.model_copy(update={"samples": 7})})
    assert audited(runs / "e", replace(request_of, profile=more), result)[0].tests >= 2

    make_data(tmp_path / "other.npz", 21)
    assert audited(runs / "f", replace(request_of, data=tmp_path / "other.npz"), result) == ()
    weaker = make_profile(tmp_path / "q.yaml", "\n  - {id: fgsm}\n")
    assert audited(runs / "g", make_request(request_of.model, request_of.data, weaker), result) == ()


def test_a_damaged_file_and_gates_that_were_not_judged_tell_of_no_test(
    tmp_path: Path, request_of: AuditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    withheld = conclude(make_result(k=41, run={"interrupted": True}), [ROBUST])
    assert withheld.gates[0].status == "invalid"
    audited(tmp_path / "a", request_of, withheld)
    for place, content in enumerate(("", "{", "[]", "[1]", '[{"run": "x"}]', "null", '{"a": 1}')):
        folder = tmp_path / f"damaged{place}"
        folder.mkdir()
        (folder / TESTS).write_text(content)
    assert audited(tmp_path / "b", with_settings(request_of, seed=1), withheld) == ()
    assert json.loads((tmp_path / "b" / TESTS).read_text())[0]["gates"] == {}
    assert TESTS not in FILES  # --fresh discards an audit, and not that it tested something


class Pair:
    """Two audits of one model in run directories side by side, the second with a journal."""

    def __init__(self, folder: Path, request: AuditRequest) -> None:
        self.first, self.second = folder / "first", folder / "second"
        self.request = with_settings(request, seed=1)
        self.of, self.run = subject_of(self.request), identity_of(self.request).run_id
        audited(self.first, request, conclude(make_result(k=41), [ROBUST]))
        self.second.mkdir()
        self.journal = Journal(self.second, key=b"key")
        self.journal.append(Remark(message="begun"))
        begun = self.begin(kept=False)
        assert begun.told == ()
        self.before = begun.before
        assert [tests.tests for tests in self.before] == [1]
        keep_test(begun, self.journal)
        self.path = self.second / TESTS

    def begin(self, *, kept: bool) -> Begun:
        journal = Journal(self.second if kept else None, key=b"key")
        assert journal.load() is None
        return begin_test(self.second, self.run, self.of, journal)


@pytest.fixture
def tested(tmp_path: Path, request_of: AuditRequest, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.chdir(tmp_path)
    return Pair(tmp_path / "runs", request_of)


def edited(path: Path, **changes: object) -> None:
    [entry] = json.loads(path.read_text())
    path.write_text(json.dumps([{**entry, **changes}]))


@pytest.mark.parametrize("kept", [True, False])
def test_an_edited_account_of_earlier_tests_is_not_believed(tested: Pair, kept: bool) -> None:
    edited(tested.path, before=[])
    begun = tested.begin(kept=kept)
    assert begun.before == tested.before
    [told] = begun.told
    assert f"{tested.path} was changed since it was written" in told
    assert ("made again from the journal" if kept else "counted again") in told
    again = tested.begin(kept=kept)
    assert (again.before, again.told) == (tested.before, ())


@pytest.mark.parametrize("harm", [lambda path: path.write_text("[{}]"), Path.unlink])
def test_the_journal_remembers_earlier_tests(tested: Pair, harm) -> None:
    harm(tested.path)
    (tested.first / TESTS).unlink()
    begun = tested.begin(kept=True)
    assert begun.before == tested.before
    [told] = begun.told
    assert "made again from the journal" in told
    assert json.loads(tested.path.read_text())[0]["before"] == [t.model_dump(mode="json") for t in tested.before]


@pytest.mark.parametrize(
    ("changes", "counted", "words"),
    [
        ({"gates": {}}, 0, "may not tell of all"),
        ({"of": "another"}, 0, "may not tell of all"),
        ({"seal": "ä"}, 1, "count as they stand"),
        ({"gates": {FIGURE: [-1.0, 0.05]}}, 0, "is damaged"),  # would give back what others spent
        ({"gates": {FIGURE: [float("nan"), 0.05]}}, 0, "is damaged"),
        ({"before": [{"figure": FIGURE, "tests": 1, "error": -0.05, "allowed": 0.05}]}, 0, "is damaged"),
    ],
)
def test_an_edited_account_of_other_tests_is_told(tested: Pair, changes, counted: int, words: str) -> None:
    edited(tested.first / TESTS, **changes)
    tested.path.unlink()
    begun = tested.begin(kept=False)
    assert sum(tests.tests for tests in begun.before) == counted
    [told] = begun.told
    assert str(tested.first / TESTS) in told
    assert words in told


def test_accounts_of_another_user_count_and_are_told(tested: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tested.first / "another"))
    tested.path.unlink()
    begun = tested.begin(kept=False)
    assert begun.before == tested.before
    [told] = begun.told
    assert "written by another user or on another machine" in told


def test_a_second_seed_is_counted_by_the_command(tmp_path: Path) -> None:
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 60)
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n", eps=1e-4)
    common = ("--min-robust", "0.8", "--samples", "30")
    first = scan(model, data, profile, tmp_path / "runs" / "a", *common)
    assert first.returncode == 0, first.stdout + first.stderr
    again = scan(model, data, profile, tmp_path / "runs" / "b", *common, "--seed", "1")
    found = load(tmp_path / "runs" / "b")
    gate = next(gate for gate in found.gates if gate.metric == "robust_accuracy")
    assert (gate.earlier, [tests.tests for tests in found.earlier]) == (1, [1])
    assert "an earlier test of the same model and data counted in" in " ".join(again.stdout.split())


RUNS = 1000


@pytest.mark.parametrize("first", [50, 100, 200])
@pytest.mark.parametrize("bound", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("held", [2, 4, 10**6])
def test_two_tests_of_the_first_samples_of_one_draw_keep_the_error_exactly(first: int, bound: float, held: int) -> None:
    """However the size of the second is advised for what the first saw; ``held``: times as many samples are there."""
    rates, total = benchmark(), 0.0
    for k, chance in enumerate(binom.pmf(np.arange(first + 1), first, bound)):
        found = rates.fixed(rates.Draws(np.random.default_rng(0), first, k), first, rates.Gate(bound))
        if found.status == "pass":
            total += chance
        elif rates.goes_on(found) and chance > 1e-9:
            size = min(found.further.samples, held * first)
            error = 1 - found.further.confidence
            needed = bisect_left(range(size + 1), True, key=lambda j: lower_bound(j, size, 1 - error) >= bound)
            total += chance * binom.sf(needed - k - 1, size - first, bound)
    assert total <= 0.05


def test_a_gate_that_does_not_end_a_sequential_audit_spends_what_it_can() -> None:
    gate = GateSpec(metric="class.0.robust_accuracy", min=0.4)
    reading = of_rate(rate(20, 40))
    for share in (0.1, 0.5):
        result = SimpleNamespace(sequential=SimpleNamespace(share=share, looks=[]))
        further = further_test(gate, reading, result, standing_of(gate, (), {"linf": 0.1}), [0.4])
        assert further is not None
        spent = 0.05 * (1 - share) + error_spent([40], [1.0], 0.4, 0.05 * share)
        assert further.spent == pytest.approx(spent)
        assert 0.05 * (1 - share) < spent < 0.05
        assert further.confidence == pytest.approx(1 - (0.05 - spent), abs=2e-6)
        assert further.samples is not None


@pytest.mark.parametrize("name", ["a fixed number, then `--until-decided`", "`--until-decided`, then more samples"])
def test_following_the_advice_keeps_the_error(name: str) -> None:
    rates = benchmark()
    found = [rates.false_passes(rates.WAYS[name], bound, 1000, RUNS, seed=5) for bound in (0.5, 0.8)]
    assert np.mean(found) <= 0.05 + 2 * (0.05 * 0.95 / (2 * RUNS)) ** 0.5
    careless = rates.WAYS["(not advised) more samples at the whole error"]
    assert np.mean([rates.false_passes(careless, bound, 1000, RUNS, seed=5) for bound in (0.5, 0.8)]) > 0.08


def test_ten_class_gates_fail_more_often_than_one_and_pass_no_more_often() -> None:
    fails, passes = benchmark().class_gates(4000)
    assert 0.36 < fails < 0.43
    assert passes < 0.05
