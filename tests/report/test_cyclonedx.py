"""CycloneDX: valid against the official schema, with intervals, and without figures that may not be quoted."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from report_cases import cases, check_discreet, hostile_results
from results import make_result

from robaudit.audit.result.document import Sample
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.cyclonedx import render
from robaudit.stats.rates import rate

CASES = cases()


@cache
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def check_valid(text: str) -> dict[str, Any]:
    assert validator().validate_str(text) is None
    content: dict[str, Any] = json.loads(text)
    return content


def metrics(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    card = json.loads(text)["components"][0]["modelCard"]
    return {(m["type"], m["slice"]): m for m in card["quantitativeAnalysis"]["performanceMetrics"]}


def test_the_validator_refuses_what_is_wrong():
    wrong = json.loads(render(CASES["measured"]))
    wrong["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 0.5
    assert validator().validate_str(json.dumps(wrong)) is not None


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_result_is_valid(name):
    text = render(CASES[name])
    content = check_valid(text)
    (model,) = content["components"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert content["metadata"]["tools"]["components"][0]["version"] == "0.1.0"
    check_discreet(text)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hostile_results())
def test_hostile_text_stays_text(result):
    check_valid(render(result))


def test_figures_have_exact_intervals():
    found = metrics(render(CASES["measured"]))
    worst = found["robust accuracy (upper bound)", "100 samples, L∞ ≤ 8/255, all attacks"]
    exact = rate(41, 100)
    assert float(worst["value"]) == exact.estimate
    assert float(worst["confidenceInterval"]["lowerBound"]) == exact.low
    assert float(worst["confidenceInterval"]["upperBound"]) == exact.high
    assert ("accuracy", "100 samples, unperturbed") in found
    assert ("robust accuracy (upper bound)", "100 samples, the attack apgd-ce (white-box, L∞) alone") in found


def test_each_class_is_a_slice():
    samples = [
        Sample(id="a", index=0, label=1, clean_prediction=1, broken_by="square"),
        Sample(id="b", index=1, label=1, clean_prediction=1),
        Sample(id="c", index=2, label=0, clean_prediction=1),
    ]
    result = conclude(make_result(samples=samples, data={"classes": ["dog", "cat"]}), [])
    found = metrics(render(result))
    assert found["accuracy", "class 1 (cat), 2 samples, unperturbed"]["value"] == "1.0"
    assert found["robust accuracy (upper bound)", "class 1 (cat), 2 samples, all attacks"]["value"] == "0.5"
    assert found["robust accuracy (upper bound)", "class 0 (dog), 1 sample, all attacks"]["value"] == "0.0"


@pytest.mark.parametrize("name", ["withheld", "unavailable", "interrupted"])
def test_figures_that_may_not_be_quoted_are_left_out(name):
    text = render(CASES[name])
    assert {kind for kind, _ in metrics(text)} == {"accuracy"}
    card = json.loads(text)["components"][0]["modelCard"]
    assert card["considerations"]["technicalLimitations"][0].startswith("No attacked figure is given.")


def test_sections_that_only_some_results_have():
    assert any("(curve)" in slice for _, slice in metrics(render(CASES["curve"])))
    assert metrics(render(CASES["curve"]))["median smallest adversarial distance", "samples answered correctly, L∞"]
    assert "robust_accuracy ≥ 0.9: fail" in render(CASES["fails"])
    assert any("L2 ≤ 0.5" in slice for _, slice in metrics(render(CASES["union"])))
    assert any(kind == "stability (upper bound)" for kind, _ in metrics(render(CASES["stability"])))
    assert "STABILITY MODE" in render(CASES["stability"])
    assert "Assumed: the range" in render(CASES["assumed"])


def test_serial_numbers_name_the_run():
    def serial(**changes: Any) -> str:
        return json.loads(render(conclude(make_result(**changes), [])))["serialNumber"]

    assert serial() == serial(k=20) == serial(run={"seconds": 1.0})
    assert serial() != serial(run={"id": "other"}) != serial(target={"sha256": "aa" * 32})
