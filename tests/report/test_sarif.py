"""SARIF: valid against the OASIS schema, with a location and a fingerprint for each finding, and no machine's path."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft4Validator
from report_cases import cases, check_discreet, hostile_results
from results import make_result

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.sarif import render, sarif_log

CASES = cases()
SCHEMA = Path(__file__).parents[1] / "schemas" / "sarif-schema-2.1.0.json"


@cache
def validator() -> Draft4Validator:
    return Draft4Validator(json.loads(SCHEMA.read_text("utf-8")), format_checker=Draft4Validator.FORMAT_CHECKER)


def run_of(name: str) -> dict[str, Any]:
    return json.loads(render(CASES[name]))["runs"][0]


def of_rule(run: dict[str, Any], rule: str) -> list[dict[str, Any]]:
    return [result for result in run["results"] if result["ruleId"] == rule]


def check_consistent(log: dict[str, Any]) -> None:
    """What the schema cannot say: indices, kinds with levels, locations, and text that is only text."""
    validator().validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["kind"] == "fail") == (result["level"] != "none")
        assert result["kind"] != "pass"
        for location in [*result["locations"], *result.get("relatedLocations", [])]:
            place = location["physicalLocation"]
            assert place["region"]["startLine"] >= 1
            artifact = run["artifacts"][place["artifactLocation"]["index"]]["location"]
            assert artifact["uri"] == place["artifactLocation"]["uri"]
            assert not re.match(r"/|\.\.|[A-Za-z][\w+.-]*:", artifact["uri"])
        assert len(result["locations"]) == 1
        for taxon in result.get("taxa", []):
            assert run["taxonomies"][taxon["toolComponent"]["index"]]["taxa"][taxon["index"]]["id"] == taxon["id"]
        assert not re.search(r"\]\(|(?<!\{)\{(?!\{)", result["message"]["text"].replace("{{", ""))
    for rule in rules:
        for relation in rule.get("relationships", []):
            target = relation["target"]
            assert run["taxonomies"][target["toolComponent"]["index"]]["taxa"][target["index"]]["id"] == target["id"]
    prints = [json.dumps(result["partialFingerprints"], sort_keys=True) for result in run["results"]]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_result_is_valid(name):
    text = render(CASES[name])
    check_consistent(json.loads(text))
    check_discreet(text)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hostile_results())
def test_hostile_text_stays_text(result):
    text = render(result)
    log = json.loads(text)
    validator().validate(log)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)
    for finding in log["runs"][0]["results"]:
        assert "](" not in finding["message"]["text"]


def test_a_failed_gate_points_at_the_line_that_asked_for_it():
    run = run_of("fails")
    (failed,) = of_rule(run, "RA001")
    place = failed["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "robaudit.yaml"
    assert place["region"] == {"startLine": 7}
    assert failed["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "models/a%20b.onnx"
    assert (failed["kind"], failed["level"]) == ("fail", "error")
    assert failed["properties"]["n"] == 100
    (broken,) = [r for r in of_rule(run, "RA011") if r["properties"]["attack"] == "square"]
    assert broken["locations"][0]["physicalLocation"]["region"] == {"startLine": 12}
    assert {taxon["id"] for taxon in broken["taxa"]} >= {"AML.T0043.001", "AML.T0040", "NISTAML.025", "AML.T0042"}


def test_without_a_line_the_model_is_the_place():
    for name in ("measured", "somewhere else", "above"):
        for result in run_of(name)["results"]:
            uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            assert uri == ("model.onnx" if name == "measured" else "m.onnx")


def test_levels_and_kinds():
    assert [r["level"] for r in of_rule(run_of("warns"), "RA001")] == ["warning"]
    (undecided,) = of_rule(run_of("inconclusive"), "RA002")
    assert (undecided["kind"], undecided["level"]) == ("open", "none")
    assert undecided["properties"]["samplesNeeded"] > 100
    (unjudged,) = of_rule(run_of("invalid"), "RA003")
    assert (unjudged["kind"], unjudged["level"]) == ("fail", "error")
    assert [r["level"] for r in of_rule(run_of("warns"), "RA102")] == ["warning"]
    assert [r["level"] for r in of_rule(run_of("withheld"), "RA102")] == ["error"]


def test_a_check_without_a_rule_has_the_general_one():
    (found,) = of_rule(run_of("unknown check"), "RA100")
    assert "The check new says: odd." in found["message"]["text"]


def test_passes_are_left_out_unless_asked_for():
    assert not of_rule(run_of("passes"), "RA001")
    shown = [r for r in sarif_log(CASES["passes"], passes=True)["runs"][0]["results"] if r["kind"] == "pass"]
    assert {r["ruleId"] for r in shown} == {"RA001", "RA101", "RA102", "RA109"}
    assert all(r["level"] == "none" for r in shown)


@pytest.mark.parametrize("name", ["partial", "unavailable", "failed", "not run", "interrupted", "worker failed"])
def test_an_incomplete_audit_did_not_execute_successfully(name):
    run = run_of(name)
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == CASES[name].verdict.exit_code != 0
    assert "incomplete" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert len(of_rule(run, "RA020")) == 1
    assert not of_rule(run, "RA010")
    assert len(of_rule(run, "RA021")) == (name not in ("interrupted", "worker failed"))


@pytest.mark.parametrize("name", ["measured", "fails", "skipped", "withheld"])
def test_a_complete_audit_did(name):
    assert run_of(name)["invocations"][0]["executionSuccessful"] is True
    assert not of_rule(run_of(name), "RA020")


def test_a_headline_that_may_not_be_quoted_is_not():
    assert of_rule(run_of("measured"), "RA010")
    assert not of_rule(run_of("withheld"), "RA010")
    assert run_of("withheld")["properties"]["worstCase"] is None


def test_examples_in_doubt_are_not_called_verified():
    assert of_rule(run_of("withheld"), "RA011")
    assert not of_rule(run_of("doubtful evidence"), "RA011")


def test_an_ignored_gate_is_suppressed_while_that_holds():
    (ignored,) = of_rule(run_of("ignored"), "RA001")
    (suppression,) = ignored["suppressions"]
    assert suppression["kind"] == "external"
    assert "2030-01-01" in suppression["justification"]
    assert "](" not in suppression["justification"]
    (expired,) = of_rule(run_of("no longer ignored"), "RA001")
    assert "suppressions" not in expired


def test_a_baseline_gives_states():
    worse = run_of("worse than the baseline")
    assert worse["baselineGuid"]
    assert [r["baselineState"] for r in of_rule(worse, "RA012")] == ["new"]
    listed = of_rule(worse, "RA013")
    assert len(listed) == 100
    assert {r["baselineState"] for r in listed} == {"new"}
    assert "50 more" in listed[-1]["message"]["text"]
    assert of_rule(worse, "RA010")[0]["baselineState"] == "updated"
    assert not of_rule(run_of("as the baseline"), "RA012")
    assert "baselineState" not in render(CASES["measured"])


def test_fingerprints_outlast_figures_and_tell_models_apart():
    def prints(**changes: Any) -> dict[str, str]:
        found = sarif_log(conclude(make_result(**changes), [GateSpec(metric="robust_accuracy", min=0.9)]))
        return {r["ruleId"] + r["message"]["text"][:12]: r["partialFingerprints"] for r in found["runs"][0]["results"]}

    assert prints() == prints(k=30, run={"id": "other", "seconds": 1.0})
    assert not set(map(str, prints().values())) & set(map(str, prints(target={"file": "b.onnx"}).values()))


def test_the_same_result_makes_the_same_text():
    assert render(CASES["fails"]) == render(CASES["fails"])


def test_artifacts_have_hashes():
    artifacts = run_of("fails")["artifacts"]
    assert artifacts[0]["hashes"] == {"sha-256": "ab" * 32}
    assert artifacts[0]["location"]["uri"] == "models/a%20b.onnx"
    assert artifacts[-1]["hashes"] == {"sha-256": "01" * 32}
    assert artifacts[-1]["location"] == {"uri": "evidence.npz", "uriBaseId": "%RUNDIR%"}
