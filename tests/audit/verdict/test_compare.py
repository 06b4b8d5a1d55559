"""Comparing audits of hand-made results: what changed, what cannot be compared, and the gates on it."""

import json
import re

import jsonschema
import pytest
from results import make_attack, make_result
from run_kit import changed

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.result.document import Check, Result, Sample, Sequential, result_schema
from robaudit.audit.verdict.comparable import check_comparable, check_loaded, check_request
from robaudit.audit.verdict.compare import compare, with_comparison
from robaudit.audit.verdict.conclusion import conclude
from robaudit.data.source import keyed_order
from robaudit.errors import AuditError, UsageError
from robaudit.report.comparison import comparison_text
from robaudit.report.terminal import render
from robaudit.stats.looks import design
from robaudit.stats.paired import mcnemar_p, paired_interval

STANDS, BROKEN, WRONG = "stands", "broken", "misclassified"


def audit(fates, **changes):
    """A result with a sample for each fate."""
    samples = [
        Sample(
            id=f"{i}.png",
            index=i,
            label=3,
            clean_prediction=4 if fate == WRONG else 3,
            broken_by="square" if fate == BROKEN else None,
            counted=fate is not None,
        )
        for i, fate in enumerate(fates)
    ]
    standing, counted = fates.count(STANDS), sum(fate is not None for fate in fates)
    draft = make_result(k=standing, n=counted, samples=samples, **{"data": {"drawn": len(fates)}} | changes)
    return conclude(draft, [])


def pair(lost, gained, same, **changes):
    """A baseline and an audit that differ so."""
    base = [STANDS] * lost + [BROKEN] * gained + [STANDS] * same
    new = [BROKEN] * lost + [STANDS] * gained + [STANDS] * same
    return audit(base), audit(new, target={"sha256": "99" * 32, "file": "new.onnx"}, **changes)


def test_the_change_is_that_of_the_pairs():
    base, new = pair(8, 2, 90)
    found = compare(base, new)
    change = found.worst_case
    assert (change.pairs, change.lost, change.gained, change.difference) == (100, 8, 2, -0.06)
    assert (change.low, change.high) == paired_interval(2, 8, 100)
    assert change.p_value == mcnemar_p(2, 8)
    assert (change.base.k, change.new.k) == (98, 92)
    assert [sample.index for sample in found.newly_broken] == list(range(8))
    assert [sample.index for sample in found.newly_fixed] == [8, 9]
    assert (found.newly_broken[0].base_state, found.newly_broken[0].new_broken_by) == (STANDS, "square")
    assert not found.same_model
    assert compare(base, base).same_model


def test_no_change_detected_is_never_called_no_change():
    for lost, gained in ((0, 0), (3, 1), (5, 5)):
        found = compare(*pair(lost, gained, 90))
        assert found.worst_case.outcome == "no change detected"
        assert "no change of robust accuracy was detected, which does not show that there is none" in found.message
        said = json.dumps(found.model_dump()).replace("no change detected", "").replace("no change of robust acc", "")
        assert "no change" not in said
        assert found.worst_case.low < 0 < found.worst_case.high


@pytest.mark.parametrize(("lost", "gained", "outcome"), [(12, 0, "worse"), (0, 12, "better"), (30, 8, "worse")])
def test_a_change_is_named_where_the_test_finds_it(lost, gained, outcome):
    change = compare(*pair(lost, gained, 100)).worst_case
    assert change.outcome == outcome
    assert change.p_value < 0.05
    assert change.low > 0 or change.high < 0


def test_a_sample_that_one_audit_could_not_judge_is_no_pair():
    found = compare(audit([STANDS, STANDS, None]), audit([STANDS, None, BROKEN]))
    assert (found.worst_case.pairs, found.left_out) == (1, 2)
    assert not found.newly_broken
    nothing = compare(audit([None, None]), audit([None, None]))
    assert nothing.worst_case.difference is None
    assert "no sample was judged in both" in nothing.message


def test_clean_accuracy_is_compared_too():
    found = compare(audit([STANDS, BROKEN, WRONG]), audit([WRONG, BROKEN, BROKEN]))
    assert (found.clean.lost, found.clean.gained) == (1, 1)
    assert found.newly_broken[0].new_state == WRONG


def other_parameters(result):
    first = result.attacks[0]
    return result.model_copy(
        update={"attacks": (first.model_copy(update={"parameters": {"steps": 50}}), *result.attacks[1:])}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: {"tool": {"version": "0.0.9", "methods": 7}}, "of robaudit 0.0.9, whose attacks are not those of"),
        (lambda r: {"data": {**r.data.model_dump(), "sha256": "ee" * 32}}, "the data differ: their digest"),
        (lambda r: {"data": {**r.data.model_dump(), "drawn": 5}}, "5 samples were drawn, and 100 are"),
        (lambda r: {"data": {**r.data.model_dump(), "classes": ("a", "b")}}, "they were a, b and are without names"),
        (lambda r: {"target": {**r.target.model_dump(), "num_classes": 9}}, "there were 9, and there are 10"),
        (
            lambda r: {"target": {**r.target.model_dump(), "input": {**r.target.input.model_dump(), "mean": (0.1,)}}},
            "the input spec differs: mean was",
        ),
        (
            lambda r: {"threat_model": {**r.threat_model.model_dump(), "eps": 0.5}},
            "the threat model differs: eps was 0.5",
        ),
        (lambda r: {"threat_model": {**r.threat_model.model_dump(), "goal": "random"}}, "goal was random"),
        (lambda r: {"run": {**r.run.model_dump(), "seed": 7}}, "the seed was 7 and is 0"),
        (lambda r: {"attacks": r.attacks[:1]}, "the attacks differ: now with square"),
        (lambda r: {"attacks": (*r.attacks, make_attack("old"))}, "now without old"),
        (lambda r: {"attacks": other_parameters(r).attacks}, "apgd-ce has another steps"),
        (lambda r: {"checks": (Check(id="parity", status="fail", message="lost"),)}, "its checks failed (parity)"),
        (lambda r: {"run": {**r.run.model_dump(), "complete": False}}, "the baseline is incomplete"),
        (
            lambda r: {"samples": [s.model_dump() | {"label": 4, "clean_prediction": 4} for s in r.samples]},
            "samples have other labels",
        ),
        (
            lambda r: {"samples": [s.model_dump() | {"index": s.index + 1} for s in r.samples]},
            "other samples were drawn",
        ),
    ],
)
def test_audits_that_differ_are_not_compared(change, words):
    base, new = pair(8, 2, 90)
    other = Result.model_validate({**base.model_dump(), **change(base)})
    with pytest.raises(AuditError, match=re.escape(words)) as caught:
        check_comparable(other, new)
    assert "\n" not in str(caught.value)
    assert "a new baseline: robaudit scan model.onnx --data data" in str(caught.value) or "options of" in str(
        caught.value
    )


def test_the_command_for_a_new_baseline_is_this_one_on_its_model():
    command = "robaudit scan new.onnx --seed 3 --baseline b.json --non-inferiority-margin 0.1 -o x.json --run-dir=r -q"
    base, new = pair(0, 0, 10, run={"command": command, "seed": 3})
    with pytest.raises(AuditError) as caught:
        check_comparable(base, new)
    assert str(caught.value).endswith("; a new baseline: robaudit scan model.onnx --seed 3 -q -o baseline.json")


def test_the_same_audits_are_compared_whatever_the_model():
    base, new = pair(8, 2, 90)
    check_comparable(base, new)
    renamed = new.target.model_dump()
    renamed["input"] |= {"name": "other", "shape": (1, 3, 32, 32)}
    check_comparable(base, Result.model_validate({**new.model_dump(), "target": renamed}))


def request(**changes):
    profile = {"name": "p", "attacks": ["apgd-ce", "square"], "threat": {"eps": "8/255"}}
    profile = Profile.model_validate(profile | changes.pop("profile", {}))
    return changed(AuditRequest(model="new.onnx", profile=profile), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 4}, "the seed was 0 and is 4"),
        ({"reference": "model"}, "the baseline measured robust accuracy, and this audit stability"),
        (
            {"profile": {"threat": {"eps": "4/255"}}},
            "the threat model differs: it was linf 0.0313725 and is linf 0.0156863",
        ),
        ({"profile": {"attacks": ["square"]}}, "the attacks differ"),
        ({"profile": {"threat": {"goal": "random"}}}, "goal was untargeted and is random"),
    ],
)
def test_what_a_request_tells_is_refused_before_the_audit(changes, words):
    base, _ = pair(0, 0, 10)
    check_request(base, request())
    with pytest.raises(UsageError, match=words):
        check_request(base, request(**changes))


def test_other_data_are_refused_before_anything_is_attacked():
    base, new = pair(0, 0, 10)
    target, data = new.target, new.data
    check_loaded(base, request(), target, data)
    with pytest.raises(UsageError, match="the data differ"):
        check_loaded(base, request(), target, data.model_copy(update={"sha256": "ee" * 32}))
    with pytest.raises(UsageError, match="the classes differ"):
        check_loaded(base, request(), target.model_copy(update={"num_classes": 3}), data)


def judged(gate, base, new):
    return conclude(with_comparison(new, base), [GateSpec.model_validate(gate)])


@pytest.mark.parametrize(
    ("lost", "gained", "same", "status", "code"),
    [(0, 0, 200, "pass", 0), (0, 0, 100, "inconclusive", 4), (20, 0, 180, "fail", 1), (1, 30, 100, "pass", 0)],
)
def test_the_margin_decides(lost, gained, same, status, code):
    result = judged("regression<=0.02", *pair(lost, gained, same))
    gate = result.gates[0]
    assert (gate.status, result.verdict.exit_code) == (status, code)
    assert (gate.samples_needed is not None) == (status == "inconclusive")


def test_the_number_of_pairs_said_to_decide_decides():
    gate = judged("regression<=0.02", *pair(0, 0, 100)).gates[0]
    assert judged("regression<=0.02", *pair(0, 0, gate.samples_needed)).gates[0].status == "pass"
    assert judged("regression<=0.02", *pair(0, 0, gate.samples_needed - 1)).gates[0].status == "inconclusive"


def test_a_regression_fails_even_an_incomplete_audit_and_never_passes_it():
    gone = (make_attack("apgd-ce", parameters={"steps": 20}), make_attack("square", "scores", status="failed"))
    assert judged("regression<=0.02", *pair(20, 0, 180, attacks=gone)).verdict.exit_code == 1
    result = judged("regression<=0.02", *pair(0, 0, 200, attacks=gone))
    assert (result.gates[0].status, result.verdict.exit_code) == ("invalid", 3)


def test_other_gates_on_the_comparison():
    base, new = pair(1, 30, 100)
    assert judged("newly_broken<=0", base, new).gates[0].status == "fail"
    assert judged("newly_broken<=1", base, new).gates[0].status == "pass"
    assert judged("clean_regression<=0.05", base, new).gates[0].status == "pass"
    alone = conclude(new, [GateSpec.model_validate("regression<=0.02")])
    assert (alone.gates[0].status, alone.verdict.exit_code) == ("invalid", 3)


def test_the_section_fits_the_schema_and_is_left_out_without_a_baseline():
    base, new = pair(8, 2, 90)
    result = with_comparison(new, base)
    content = json.loads(result.to_json())
    jsonschema.validate(content, result_schema())
    assert Result.model_validate({**content, "digest": None}) == result
    assert "comparison" not in json.loads(new.to_json())
    assert with_comparison(new, None) is new


def test_reports_list_what_changed_and_pass_no_control_characters_on():
    base, new = pair(25, 2, 90)
    hostile = new.samples[0].model_copy(update={"id": "\x1b[31mevil\n[bold]"})
    new = new.model_copy(update={"samples": (hostile, *new.samples[1:])})
    result = conclude(with_comparison(new, base), [])
    for text in (comparison_text(result), render(result)):
        assert "newly broken: 25" in text
        assert "and 5 more" in text
        assert "stands before, broken by square now" in text
        assert "\x1b" not in text
        assert "[bold]" in text
    assert comparison_text(new) == ""


def ended_early(result, size):
    """The same audit, ended by its gates at the first look after ``size`` samples."""
    plan = design(len(result.samples))
    place = next(i for i, planned in enumerate(plan.sizes) if planned >= size)
    size = plan.sizes[place]
    ended = Sequential(
        most=plan.sizes[-1],
        samples=size,
        planned=plan.sizes,
        stopped="decided",
        reason="decided",
        share=plan.shares[place],
    )
    order = keyed_order([sample.index for sample in result.samples], result.run.seed)
    kept = tuple(result.samples[i] for i in sorted(order[:size]))
    data = result.data.model_copy(update={"drawn": size})
    return result.model_copy(update={"samples": kept, "data": data, "sequential": ended})


@pytest.mark.parametrize(("base_size", "new_size"), [(None, 32), (32, None), (32, 72), (72, 32), (48, 48)])
def test_audits_that_ended_early_are_compared_on_what_both_took(base_size, new_size):
    base, new = pair(20, 2, 78)
    early = [r if size is None else ended_early(r, size) for r, size in ((base, base_size), (new, new_size))]
    check_comparable(*early)
    found = compare(*early)
    took = min(len(r.samples) for r in early)
    share = min(r.sequential.share for r in early if r.sequential)
    common = {sample.index for sample in early[0].samples} & {sample.index for sample in early[1].samples}
    assert (found.worst_case.pairs, len(common), found.left_out) == (took, took, 0)
    assert found.worst_case.lost == sum(index < 20 for index in common)
    assert found.worst_case.confidence == pytest.approx(1 - 0.05 * share)
    assert ("that both audits took" in found.message) == (base_size != new_size)
    gate = GateSpec(metric="regression", max=0.9)
    compared = early[1].model_copy(update={"comparison": found})
    (decided,) = conclude(compared, [gate]).gates
    high = -paired_interval(found.worst_case.gained, found.worst_case.lost, took, 1 - 2 * 0.05 * share)[0]
    assert f"at most {100 * high:.1f}%" in decided.message


def test_an_early_end_hides_no_other_data():
    base, new = pair(8, 2, 90)
    early = ended_early(new, 32)
    for other in (audit([STANDS] * 99), audit([STANDS] * 101)):
        with pytest.raises(AuditError, match=f"{len(other.samples)} samples were drawn, and 100 are"):
            check_comparable(other, early)
    moved = tuple(sample.model_copy(update={"index": sample.index + 50}) for sample in early.samples)
    with pytest.raises(AuditError, match="other samples were drawn"):
        check_comparable(base, early.model_copy(update={"samples": moved}))


def test_a_baseline_of_another_version_that_does_the_same_is_compared() -> None:
    base, new = audit([STANDS, BROKEN, WRONG]), audit([STANDS, STANDS, WRONG])
    old = base.model_copy(update={"tool": base.tool.model_copy(update={"version": "0.0.9"})})
    check_comparable(old, new)
    assert compare(old, new).baseline.version == "0.0.9"
