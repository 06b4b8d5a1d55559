"""The names of metrics: known ones, suggestions for others, and the page that lists them."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from robaudit.audit.config.gatespecs import GateSpec, merge_gates, parse_gate
from robaudit.audit.config.metrics import FAMILIES, parse_metric
from robaudit.errors import UsageError

DOCS = Path(__file__).parents[3] / "docs" / "gates.md"


def fill(pattern):
    return pattern.replace("NAME", "cat").replace("ID", "parity" if pattern == "check.ID" else "pgd").replace(
        "NORM", "l2"
    ).replace("EPS", "4/255")  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.pattern)
def test_every_pattern_is_parsed_as_itself(family):
    assert parse_metric(fill(family.pattern)).family is family


def test_the_page_lists_every_metric_and_no_other():
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| ([^|]+) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert [(name, unit, interval.strip()) for name, unit, interval in rows] == [
        (family.pattern, family.unit, family.interval) for family in FAMILIES
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("robust_acuracy", "did you mean 'robust_accuracy'"),
        ("robust_accuracy.l3", "did you mean 'l2'"),
        ("class.cat.robust_acc", "did you mean 'class.cat.robust_accuracy'"),
        ("attack.pgd.succes_rate", "did you mean 'attack.pgd.success_rate'"),
        ("atack.pgd.success_rate", "did you mean 'attack.pgd.success_rate'"),
        ("attack.pgd", "not attack.ID.FIELD"),
        ("check.Party 1", "is not check.ID"),
        ("validty", "did you mean 'validity'"),
        ("median_distance@3", "of all radii"),
        ("regresion", "did you mean 'regression'"),
        ("a.\\u.b", "did you mean"),
        ("zzz", "known are"),
        ("", "known are"),
    ],
)
def test_an_unknown_metric_is_refused_with_a_suggestion(text, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        parse_metric(text)
    assert "\n" not in str(caught.value)


def test_names_may_hold_dots_and_plurals_are_the_same():
    assert parse_metric("class.a.b.clean_accuracy").subject == "a.b"
    assert parse_metric("attacks.pgd.rate_alone").canonical == parse_metric("attack.pgd.rate_alone").canonical
    assert parse_metric("checks.parity").canonical == parse_metric("check.parity").canonical


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("robust_accuracy>=0.6", {"metric": "robust_accuracy", "min": 0.6}),
        (" attack.square.success_rate <= 20% ", {"metric": "attack.square.success_rate", "max": 0.2}),
        ("median_distance≥1e-2", {"metric": "median_distance", "min": 0.01}),
        ("check.parity", {"metric": "check.parity"}),
        ("class.<1 kg.robust_accuracy>=0.5", {"metric": "class.<1 kg.robust_accuracy", "min": 0.5}),
        ("class.a>=b.robust_accuracy<=50%", {"metric": "class.a>=b.robust_accuracy", "max": 0.5}),
    ],
)
def test_a_gate_on_one_line(text, content):
    assert parse_gate(text) == content
    assert GateSpec.model_validate(text) == GateSpec.model_validate(content)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("robust_accuracy=0.6", "METRIC>=NUMBER"),
        ("robust_accuracy>=much", "METRIC>=NUMBER"),
        ("robust_accuracy>=1e", "no number"),
        ("robust_accuracy", "needs a min or a max"),
        ("robust_accuracy>=60", "share between 0 and 1"),
        ("validity>=1", "no min or max"),
        ("robust_accuracy@x>=0.5", "not a number or a fraction"),
        ({"metric": "coverage", "min": 0.5, "max": 0.4}, "can never pass"),
        ({"metric": "coverage", "min": 1, "ignore": {"reason": "", "until": "2026-01-01"}}, "at least 1 character"),
        ({"metric": "coverage", "min": 1, "ignore": {"reason": "x"}}, "until"),
    ],
)
def test_a_wrong_gate_is_refused(gate, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        GateSpec.model_validate(gate)


def test_a_gate_replaces_the_one_on_the_same_metric_however_it_is_written():
    base = [GateSpec.model_validate(text) for text in ("attacks.pgd.rate_alone>=0.1", "coverage>=1")]
    merged = merge_gates(base, [GateSpec.model_validate("attack.pgd.rate_alone>=0.5")])
    assert [(gate.metric, gate.min) for gate in merged] == [("coverage", 1), ("attack.pgd.rate_alone", 0.5)]
