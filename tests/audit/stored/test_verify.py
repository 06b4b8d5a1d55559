"""A result is read only if all that it counts is what its own samples give, whatever its digest says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from results import make_result, make_samples, make_stored
from run_kit import make_data, make_onnx, make_request, run_here

from robaudit import __version__
from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.result.document import Result, content_digest
from robaudit.audit.stored.file import load_result, parse_result, save_result
from robaudit.audit.verdict.compare import compare
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import UsageError
from robaudit.stats.rates import rate

Content = dict[str, Any]
GATES = ("robust_accuracy>=0.3", "coverage>=1")


def stored(k: int = 41, n: int = 100, **changes: Any) -> Result:
    draft = make_stored(make_result(samples=make_samples(k, n), **changes))
    return conclude(draft, [GateSpec.model_validate(text) for text in GATES])


def forged(content: Content) -> str:
    """The text of an edited result, with the digest that it has then."""
    return json.dumps({**content, "digest": content_digest(content)})


def told(content: Content) -> str:
    """In what words it is refused."""
    with pytest.raises(UsageError) as caught:
        parse_result(forged(content), "r.json")
    text = str(caught.value)
    assert text.startswith("r.json contradicts itself: ")
    assert "\n" not in text
    return text.removeprefix("r.json contradicts itself: ")


def standing(content: Content, k: int) -> None:
    """All places that tell the rate, its interval and the verdict made to fit each other, the samples left alone."""
    found = rate(k, 100).__dict__
    content["worst_case"]["upper_bound_observed"] = content["worst_case"]["robust_accuracy"] = found
    content["attacks"][1]["cumulative_robust_accuracy"] = found
    content["gates"][0] |= {"observed": found, "status": "pass", "message": f"{k} of 100: at least 90.0%, 95% sure"}


def of_sample(**changes: Any) -> Callable[[Content], None]:
    return lambda content: content["samples"][60].update(changes)


def of(*path: Any, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = value

    return change


def test_an_honest_result_reads_back_the_same() -> None:
    for result in (stored(), stored(0), stored(100), stored(3, 5)):
        assert parse_result(result.to_json(), "r.json") == result


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: standing(c, 100), "worst_case.robust_accuracy.k is 100, and its samples give 41"),
        (of("worst_case", "upper_bound_observed", "low", value=0.4), "worst_case.upper_bound_observed.low is 0.4"),
        (of("worst_case", "robust_accuracy", value=None), "worst_case.robust_accuracy is null"),
        (of("run", "budget_spent", value=True), "run.budget_spent is true, and run.time_budget null"),
        (of("data", "repeats", value=10**6), "data.repeats 1000000, of "),
        (of("data", "contradictions", value=1), "data.contradictions is 1, and data.repeats 0"),
        (of("verdict", "judged", value="soon"), "verdict.judged is 'soon', which is no day"),
        (of("threat_model", "tolerance", value=0.5), "threat_model.tolerance is 0.5, and distances are judged with"),
        (of("clean", "accuracy", value=rate(99, 100).__dict__), "clean.accuracy.k is 99, and its samples give 93"),
        (of("attacks", 0, "newly_broken", value=2), "attacks[0].newly_broken is 2, and its samples give 40"),
        (of("attacks", 0, "broken", value=41), "attacks[0].broken is 41, and its samples give 40"),
        (of("attacks", 0, "rate_alone", value=None), "attacks[0].rate_alone is null, and its samples give 53 of 100"),
        (of("attacks", 1, "rate_alone", value=rate(100, 100).__dict__), "attacks[1].rate_alone is 100 of 100"),
        (of("attacks", 0, "cumulative_robust_accuracy", "k", value=90), "attacks[0].cumulative_robust_accuracy.k"),
        (of("attacks", 0, "median_distance", value=0.001), "attacks[0].median_distance is 0.001"),
        (of("attacks", 0, "attempted", value=100), "apgd-ce broke 40 of 100 samples"),
        (of("attacks", 1, "queries", value=5), "its attacks spent 5 queries, and its samples 16430"),
        (of("attacks", 1, "status", value="not run"), "threat_model.access is white-box, scores, and its attacks had"),
        (of("attacks", 0, "eps", value=0.1), "apgd-ce is of linf 0.1, which is no ball of its threat model"),
        (of("attacks", 0, "id", value="square"), "two of its attacks are called square"),
        (of("gates", 0, "status", value="fail"), "gates[0].status is 'fail', and its samples give 'pass'"),
        (of("gates", 0, "observed", "k", value=99), "gates[0].observed.k is 99"),
        (of("verdict", "exit_code", value=1), "verdict.exit_code is 1"),
        (of("run", "complete", value=False), "run.complete"),
        (of("run", "interrupted", value=True), "run.complete is True, and its samples give False"),
        (of("evidence", "count", value=51), "evidence.count is 51, and its samples tell of 52 adversarial examples"),
        (of("evidence", value={"path": None, "sha256": None, "count": 0}), "evidence.count is 0"),
        (of("data", "drawn", value=60), "data.drawn is 60, and it holds 100 samples"),
        (of("threat_model", "eps_text", value="64/255"), "threat_model.eps_text is 64/255, and eps is 0.0313725"),
        (of("threat_model", "access", value=["labels"]), "threat_model.access is labels"),
        (of("worst_case", "metric", value="stability"), "worst_case.metric is stability, and the reference is labels"),
        (of_sample(broken_by=None), "sample 60 (cat/60.png) is broken by nothing, and has an adversarial example"),
        (of_sample(broken_by="pgd"), "broken in linf by pgd, which the audit does not have"),
        (of_sample(distance=0.5), "at the distance 0.5, outside of 0.0313725"),
        (of_sample(distance=None), "at the distance None"),
        (of_sample(adversarial_prediction=3), "with the answer 3, which is no success"),
        (of_sample(adversarial_prediction=None), "with the answer None, which is no success"),
        (of_sample(clean_prediction=4), "was not answered correctly"),
        (of_sample(label=11), "has the class 11, and the model 10"),
        (of_sample(index=0), "two of its samples' positions are called 0"),
        (of_sample(id="cat/0.png"), "two of its samples are called cat/0.png"),
        (of_sample(counted=False), "does not count, and nothing says why"),
        (of_sample(counted=False, error="unreadable"), "does not count"),
        (of_sample(reached=[5]), "was made to answer a class that was not sought"),
        (of_sample(smallest_distance=0.01), "samples[60].smallest_distance is 0.01, and its samples give null"),
        (of_sample(nearest=[{"attack": "apgd-ce", "distance": 0.031}]), "no curve was searched"),
    ],
)  # fmt: skip
def test_what_does_not_fit_its_samples_is_refused(change: Callable[[Content], None], words: str) -> None:
    content = json.loads(stored().to_json())
    change(content)
    assert words in told(content)


def test_samples_that_were_marked_broken_take_the_rates_with_them() -> None:
    """What makes a baseline bad enough to let a worse model pass."""
    content = json.loads(stored(81).to_json())
    for sample in content["samples"][:40]:
        sample |= {"broken_by": "square", "adversarial_prediction": 5, "distance": 0.02}
    assert "evidence.count is 12, and its samples tell of 52" in told(content)
    content["evidence"]["count"] = 52
    assert "its samples give 41" in told(content)


def test_dropped_samples_attacks_and_checks_are_missed() -> None:
    resolved = {"attacks": [{"id": "apgd-ce"}, {"id": "square"}], "checks": {"clean": {}, "parity": {}, "evidence": {}}}
    draft = stored()
    whole = draft.model_copy(update={"profile": draft.profile.model_copy(update={"resolved": resolved})})
    assert parse_result(whole.to_json(), "r.json") == whole
    for name, place, words in (
        ("samples", 50, "data.drawn is 100, and it holds 99 samples"),
        ("attacks", 1, "its attacks are apgd-ce, and its profile's apgd-ce, square"),
        ("checks", 1, "its checks are not those of its profile"),
    ):
        content = json.loads(whole.to_json())
        del content[name][place]
        assert words in told(content)


def test_gates_may_have_been_decided_in_any_way_that_the_commands_offer() -> None:
    draft = make_stored(make_result(samples=make_samples(41, 100)))
    gates = [GateSpec(metric="robust_accuracy", min=0.4), GateSpec(metric="newly_broken", max=0, level="warn")]
    codes = set()
    for undecided in ("fail", "warn", "pass"):
        for binding in ("error", "warn", "never"):
            result = conclude(draft, gates, undecided, binding)
            assert parse_result(result.to_json(), "r.json") == result
            codes.add(result.verdict.exit_code)
    assert codes == {0, 3, 4}


@pytest.mark.parametrize("version", ["0.0.9", __version__])
def test_sentences_are_not_believed_but_written_anew(version: str) -> None:
    """So that nothing is claimed that the figures do not say, and an older version's words stay readable."""
    new = stored(41, tool={"version": version})
    result = new.model_copy(update={"comparison": compare(stored(81), new)})
    result = conclude(result, [GateSpec.model_validate("regression<=0.1")])
    content = json.loads(result.to_json())
    content["verdict"] |= {"headline": "Nothing can fool this model.", "reasons": ["all is well"], "next_steps": []}
    content["gates"][0]["message"] = content["comparison"]["message"] = "no loss"
    content["limitations"] = ["none"]
    assert parse_result(forged(content), "r.json") == result
    content["worst_case"]["upper_bound_observed"]["k"] = 100
    assert "worst_case.upper_bound_observed.k is 100" in told(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of("worst_case", "lost", value=0), "comparison.worst_case does not follow from its counts"),
        (of("worst_case", "low", value=-0.01), "comparison.worst_case does not follow from its counts"),
        (of("worst_case", "outcome", value="better"), "comparison.worst_case does not follow from its counts"),
        (of("worst_case", "new", "k", value=99), "comparison.worst_case does not follow from its counts"),
        (of("clean", value=None), "comparison measures something else than the audit"),
        (of("newly_broken", value=[]), "comparison counts 40 samples that changed, and lists 0"),
        (of("newly_broken", 0, "id", value="cat/99.png"), "comparison lists cat/99.png as changed"),
        (of("newly_broken", 0, "base_state", value="broken"), "comparison tells of cat/41.png what its samples do not"),
        (of("share", value=2.0), "comparison.share is 2, and the audit may spend 1"),
    ],
)
def test_a_comparison_follows_from_its_pairs(change: Callable[[Content], None], words: str) -> None:
    new = stored(41)
    result = new.model_copy(update={"comparison": compare(stored(81), new)})
    result = conclude(result, [GateSpec(metric="regression", max=0.1)])
    assert result.verdict.exit_code == 1
    assert parse_result(result.to_json(), "r.json") == result
    content = json.loads(result.to_json())
    change(content["comparison"])
    assert words in told(content)


def test_the_curves_of_an_audit_follow_from_its_samples(tmp_path: Path) -> None:
    """Every figure of a real audit of two norms with curves, changed alone, is noticed."""
    (tmp_path / "p.yaml").write_text(
        "name: p\nthreat: {norm: linf, eps: 0.05, also: [{norm: l2, eps: 0.2}]}\nattacks: [fgsm]\n"
        "checks: [clean, evidence]\ncurve: {attacks: [{id: fmn, steps: 8}], rounds: 1}\n"
    )
    request = make_request(make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz"), tmp_path / "p.yaml")
    save_result(run_here(request, tmp_path / "run"), tmp_path / "r.json")
    result = load_result(tmp_path / "r.json")
    assert len(result.curves) == len(result.threats) == 2
    text = result.to_json()
    places = [
        *((("curves", c, name), 7) for c in (0, 1) for name in ("broken", "unbroken", "area", "step")),
        *((("curves", c, name), 7) for c in (0, 1) for name in ("median_distance", "area_eps")),
        *((("curves", c, "points", 3, name), 11) for c in (0, 1) for name in ("eps", "k", "n")),
        *((("curves", c, "points", 3, name), 0.123) for c in (0, 1) for name in ("low", "high", "estimate")),
        *((("threats", t, name), 13) for t in (0, 1) for name in ("broken", "broken_here_alone", "median_distance")),
        *((("attacks", a, "median_distance"), 0.01) for a in range(len(result.attacks))),
        *((("attacks", a, "broken"), 9) for a in range(len(result.attacks))),
    ]  # fmt: skip
    for path, value in places:
        content = json.loads(text)
        of(*path, value=value)(content)
        assert told(content), path
    content = json.loads(text)
    del content["curves"]
    assert "curves is a list of 0" in told(content)
    for place, sample in enumerate(result.samples):
        if sample.nearest:
            content = json.loads(text)
            for entry in content["samples"][place]["nearest"]:
                entry["distance"] *= 0.999 if entry["attack"] == sample.smallest_by else 1
            told(content)
