"""JUnit XML: valid against Jenkins's schema, red exactly where the exit code says so, and always well-formed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import HealthCheck, given, settings
from report_cases import cases, hostile_results

from robaudit.report.junit import render

CASES = cases()
SCHEMA = Path(__file__).parents[1] / "schemas" / "junit-10.xsd"


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMA))


def outcomes(name: str, suite: str) -> dict[str, str]:
    """Outcome of each case of a suite: pass, or the name of what its element holds."""
    root = ElementTree.fromstring(render(CASES[name]).encode())
    found = {}
    for case in root.iter("testcase"):
        if case.attrib["classname"] == f"robaudit.{suite}":
            kinds = [child.tag for child in case if child.tag != "system-out"]
            assert len(kinds) <= 1
            found[case.attrib["name"]] = kinds[0] if kinds else "pass"
    return found


def check_counts(root: ElementTree.Element) -> None:
    for suite in (root, *root.iter("testsuite")):
        assert suite.attrib["tests"] == str(len(list(suite.iter("testcase"))))
        assert suite.attrib["failures"] == str(len(list(suite.iter("failure"))))
        assert suite.attrib["errors"] == str(len(list(suite.iter("error"))))
        assert suite.get("skipped", str(len(list(suite.iter("skipped"))))) == str(len(list(suite.iter("skipped"))))


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_result_is_valid_and_as_red_as_its_exit_code(name):
    text = render(CASES[name])
    root = ElementTree.fromstring(text.encode())
    schema().validate(root)
    check_counts(root)
    red = int(root.attrib["failures"]) + int(root.attrib["errors"]) > 0
    if name != "ignored":  # the exit code of that hand-made one is from before
        assert red == (CASES[name].verdict.exit_code != 0)
    assert "/home" not in text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hostile_results())
def test_hostile_text_stays_text(result):
    root = ElementTree.fromstring(render(result).encode())
    schema().validate(root)
    check_counts(root)
    known = {"testsuites", "testsuite", "properties", "property", "testcase"}
    assert {e.tag for e in root.iter()} <= known | {"failure", "error", "skipped", "system-out"}


def test_gates():
    assert outcomes("fails", "gates") == {"robust_accuracy ≥ 0.9": "failure", "clean_accuracy ≥ 0.5": "pass"}
    assert outcomes("inconclusive", "gates") == {"robust_accuracy ≥ 0.4": "failure"}
    assert outcomes("invalid", "gates") == {"stability ≥ 0.4": "error"}
    assert outcomes("warns", "gates") == {"robust_accuracy ≥ 0.9 (warning only)": "skipped"}
    assert outcomes("ignored", "gates")["robust_accuracy ≥ 0.9 (ignored until 2030-01-01)"] == "skipped"
    assert outcomes("no longer ignored", "gates")["robust_accuracy ≥ 0.9 (no longer ignored)"] == "failure"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("partial", "error"),
        ("failed", "error"),
        ("not run", "error"),
        ("unavailable", "skipped"),
        ("skipped", "skipped"),
    ],
)
def test_attacks(status, outcome):
    assert outcomes(status, "attacks") == {"apgd-ce": outcome, "square": "pass"}
    assert "no gradient, see m.onnx" in render(CASES[status])
    assert "unavailable: unavailable" not in render(CASES[status])


def test_checks_and_verdict():
    assert outcomes("withheld", "checks") == {"clean": "pass", "parity": "error", "unbounded": "skipped"}
    assert outcomes("warns", "checks")["parity"] == "pass"
    assert outcomes("measured", "audit") == {"verdict": "pass"}
    assert outcomes("fails", "audit") == {"verdict": "failure"}
    assert outcomes("interrupted", "audit") == {"verdict": "error"}
    assert outcomes("union", "attacks").keys() == {"apgd-ce in linf", "apgd-ce in l2"}
