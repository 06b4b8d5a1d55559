"""The verdict's word: one for each state, the same in every report."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from report_cases import cases
from results import make_result

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import Result
from robaudit.audit.result.sections.verdict import MEANINGS
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report import cyclonedx, junit, markdown, sarif, terminal
from robaudit.report import json as plain_json
from robaudit.report.html import render as html
from robaudit.report.sentences import verdict_line, verdict_words

CASES = cases()
ROBUST = GateSpec(metric="robust_accuracy", min=0.4)
WORDS = {
    "measured": ("MEASURED (no gate on the model)", "measured", 0),
    "passes": ("PASSED (robust_accuracy ≥ 0.5)", "passed", 0),
    "fails": ("FAILED (robust_accuracy ≥ 0.9)", "failed", 1),
    "warns": ("MEASURED (no gate on the model)", "measured", 0),
    "inconclusive": ("UNDECIDED (robust_accuracy ≥ 0.4)", "undecided", 4),
    "invalid": ("INVALID", "invalid", 3),
    "withheld": ("FAILED (robust_accuracy ≥ 0.9)", "failed", 1),
    "doubtful evidence": ("WITHHELD", "withheld", 3),
    "interrupted": ("INTERRUPTED", "interrupted", 130),
    "worker failed": ("INCOMPLETE", "incomplete", 3),
    "stability": ("MEASURED (no gate on the model)", "measured", 0),
    "nothing audited": ("WITHHELD", "withheld", 3),
    "none stands": ("MEASURED (no gate on the model)", "measured", 0),
    "assumed without a gate": ("ASSUMED INPUT", "assumed input", 0),
    "assumed with a gate": ("ASSUMED INPUT", "assumed input", 3),
    "three gates": (
        "FAILED (robust_accuracy ≥ 0.4, clean_accuracy ≥ 0.99 and 1 more)",
        "failed",
        1,
    ),
}
CASES |= {
    "none stands": conclude(make_result(k=0), []),
    "assumed without a gate": conclude(make_result(target={"assumed": ["the range is [0, 1]"]}), []),
    "assumed with a gate": conclude(make_result(k=60, target={"assumed": ["the range is [0, 1]"]}), [ROBUST]),
    "three gates": conclude(
        make_result(k=10),
        [
            ROBUST,
            GateSpec(metric="clean_accuracy", min=0.99),
            GateSpec(metric="clean_accuracy", min=0.995),
        ],
    ),
}


def shown_in(result: Result) -> dict[str, str]:
    """The verdict as each report shows it."""
    page = html(result)
    md = markdown.render(result).splitlines()[0]
    log = sarif.sarif_log(result)["runs"][0]
    bill = cyclonedx.bill(result)
    card = {item["name"]: item["value"] for item in bill["components"][0]["modelCard"]["properties"]}
    suites = ElementTree.fromstring(junit.render(result))
    property_ = suites.find(".//property[@name='robaudit.verdict']")
    assert property_ is not None
    return {
        "terminal": next(line for line in terminal.render(result).splitlines() if line.startswith("Verdict: "))[9:],
        "html": re.search(r"</span> Verdict: (.*?)</h2>", page)[1].replace("&gt;", ">"),
        "markdown": re.sub(r"\\", "", md).partition("robaudit: ")[2],
        "json": json.loads(plain_json.render(result))["verdict"]["word"],
        "sarif": log["properties"]["verdict"],
        "sarif invocation": log["invocations"][0]["properties"]["verdict"],
        "sarif exit": log["invocations"][0]["exitCodeDescription"],
        "cyclonedx": card["robaudit:verdict"],
        "cyclonedx note": bill["annotations"][0]["text"],
        "junit": property_.get("value", ""),
        "junit output": suites.find(".//testcase[@name='verdict']/system-out").text,
        "line": verdict_line(result),
    }


@pytest.mark.parametrize("name", WORDS)
def test_each_report_shows_the_same_word(name):
    result = CASES[name]
    told, status, code = WORDS[name]
    word = status.upper()
    assert (result.verdict.status, result.verdict.exit_code) == (status, code)
    assert verdict_words(result) == told
    shown = shown_in(result)
    assert all(text.startswith(word) for text in shown.values()), shown
    for kind in ("terminal", "html", "line"):
        assert shown[kind].startswith(told), kind
    others = {meaning.upper() for meaning in MEANINGS} - {word}
    assert not any(text.startswith(tuple(others)) for text in shown.values())


@pytest.mark.parametrize("name", ["measured", "none stands", "assumed without a gate", "stability", "warns"])
def test_no_report_praises_what_no_gate_judged(name):
    result = CASES[name]
    texts = [terminal.render(result), markdown.render(result), html(result), verdict_line(result)]
    texts.append(junit.render(result))
    for text in texts:
        assert not re.search(r"\bOK\b|audit is valid|PASSED|nothing failed", text)
    assert "✅ robaudit" not in texts[1]
    assert 'class="verdict good"' not in texts[2]


@pytest.mark.parametrize("name", ["measured", "assumed with a gate", "inconclusive", "interrupted"])
def test_the_reports_for_people_say_what_the_word_means(name):
    meaning = MEANINGS[CASES[name].verdict.status]
    flat = " ".join(terminal.render(CASES[name]).split())
    assert meaning in flat
    assert meaning in markdown.render(CASES[name])
    assert meaning in html(CASES[name])
    assert CASES[name].verdict.meaning == meaning


def test_the_tolerance_of_distances_is_told():
    result = CASES["measured"]
    told = "measured in float64, with a tolerance of 1e-06 of the domain's width"
    assert told in " ".join(terminal.render(result).split())
    assert told in markdown.render(result)
    assert told in html(result).replace("&#39;", "'")
    assert json.loads(plain_json.render(result))["threat_model"]["tolerance"] == 1e-6


def test_a_run_is_called_reproducible_only_where_it_is():
    same = "it gives the same figures"
    whole = make_result()
    assert same in html(conclude(whole, []))
    for changes in ({"interrupted": True}, {"reproducible": False}, {"reproducible": False, "time_budget": 5.0}):
        assert same not in html(conclude(make_result(run=changes), []))
    told = {
        "not reproducible, as the file does not answer alike each time": {"reproducible": False},
        "not reproducible, as its time budget of 5.0 s was spent": {
            "reproducible": False,
            "budget_spent": True,
            "time_budget": 5.0,
        },
        "within its time budget of 5.0 s": {"time_budget": 5.0},
    }
    for words, changes in told.items():
        assert words in " ".join(terminal.render(conclude(make_result(run=changes), [])).split())


def test_no_report_bounds_the_truth_by_the_observed_figure():
    page = " ".join(html(CASES["measured"]).split())
    assert "lies between" not in page
    assert "of the true value only the upper end of its line is a bound" in page
    assert "An upper bound for these samples" in terminal.render(CASES["measured"])


def test_without_labels_no_report_calls_an_answer_wrong_that_only_changed():
    for name, told in (("stability", "and wants any answer but the model's own to the sample."), ("measured", None)):
        for report in (terminal.render, markdown.render, html, cyclonedx.render):
            text = " ".join(report(CASES[name]).replace("&#39;", "'").replace("&#x27;", "'").split())
            assert (told or "and wants any wrong answer.") in text, (name, report.__module__)
            assert told is None or "any wrong answer." not in text
