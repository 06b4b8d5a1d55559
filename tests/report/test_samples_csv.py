"""CSV of samples: it reads back, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from report_cases import HOSTILE, cases, hostile_results
from results import make_result

from robaudit.audit.result.document import Price, Sample
from robaudit.report.samples_csv import COLUMNS, render

CASES = cases()


def rows(result):
    return list(csv.DictReader(io.StringIO(render(result), newline="")))


@pytest.mark.parametrize("name", CASES)
def test_a_row_for_each_sample(name):
    found = rows(CASES[name])
    assert [int(row["index"]) for row in found] == [sample.index for sample in CASES[name].samples]
    assert all(None not in row and None not in row.values() for row in found)


def test_values_read_back():
    sample = Sample(
        id="cat/1.png",
        index=7,
        label=1,
        clean_prediction=1,
        broken_by="square",
        adversarial_prediction=0,
        distance=0.1 + 0.2,
        queries=31_000,
        targets=(0, 2),
        reached=(0,),
    )
    (row,) = rows(make_result(samples=[sample], data={"classes": ["dog, wet", 'the "cat"']}))
    assert float(row["distance"]) == 0.1 + 0.2
    assert (row["label_name"], row["adversarial_name"]) == ('the "cat"', "dog, wet")
    assert (row["broken"], row["clean_correct"], row["queries"]) == ("true", "true", "31000")
    assert (row["targets"], row["reached"], row["smallest_distance"]) == ("0 2", "0", "")


def test_of_several_norms_a_sample_shows_each():
    (row,) = rows(CASES["union"])
    assert (row["broken_by_l2"], row["distance_l2"], row["broken_by_linf"]) == ("apgd-ce", "0.4", "")
    assert set(rows(CASES["measured"])[0]) == set(COLUMNS)


def test_of_each_access_a_sample_shows_what_it_cost():
    prices = (Price(attack="scores/square", queries=12, distance=0.03),)
    one = Sample(id="a", index=0, label=1, clean_prediction=1, broken_by="scores/square", prices=prices)
    other = Sample(id="b", index=1, label=1, clean_prediction=1)
    found = rows(CASES["secrecy"].model_copy(update={"samples": (one, other)}))
    assert [(row["queries_labels"], row["queries_scores"]) for row in found] == [("", "12"), ("", "")]
    assert "queries_white-box" not in found[0]


@pytest.mark.parametrize("text", [*HOSTILE, " =1+1", "\t=1+1", "-2", "@x", "\x00=1"])
def test_a_formula_is_text(text):
    sample = Sample(id="a", index=0, label=0, clean_prediction=0, broken_by=text, error=text)
    (row,) = rows(make_result(samples=[sample], data={"classes": [text]}))
    for cell in (row["broken_by"], row["label_name"], row["error"]):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert cell.isprintable()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hostile_results())
def test_hostile_text_makes_no_rows_and_no_formulas(result):
    found = rows(result)
    assert len(found) == len(result.samples)
    for row in found:
        assert set(row) == set(COLUMNS)
        for name, cell in row.items():
            assert name not in ("id", "broken_by", "label_name", "error", "left_out") or not cell.startswith(
                tuple("=+-@")
            )


SPLIT = [
    "a;=HYPERLINK(1)", 'a;"=B()', 'a; " =B()', "a|=cmd|' /C calc'!A0", "a,+1", "\uff1dA1", "\uff0bA1", "\uff0dA1",
    "\uff20A1", "\ufe66A1", "a;\uff1dB", "\t=A1", "\r=A1", "a\t;=B", "a;\n=B", ";=", ";;-1", "\u3000=A1", '"=A1',
    "a\u037e=B", "a\uff1b=B", "a\uff0c=B", "a\uff5c=B", "=a;=b;=c", "x\u200b;=1",
]  # fmt: skip
"""Text that a spreadsheet takes for a formula, or splits and then takes for one."""


@pytest.mark.parametrize("text", SPLIT)
def test_no_part_that_a_spreadsheet_splits_off_is_a_formula(text):
    sample = Sample(id=text, index=0, label=0, clean_prediction=0, left_out=text, error=text)
    result = make_result(samples=[sample], data={"classes": [text]})
    content = render(result)
    narrow = unicodedata.normalize("NFKC", content)  # as some import filters read it
    for delimiter in ",;|\t":
        lines = [
            line for one in (content, narrow) for line in csv.reader(io.StringIO(one, newline=""), delimiter=delimiter)
        ]
        for line in lines:
            for cell in line:
                bare = unicodedata.normalize("NFKC", cell).lstrip(' "')
                assert not bare.startswith(("=", "+", "-", "@")), (delimiter, cell)
    assert result.samples[0].id == text  # the JSON, by which samples are matched, is exact


@pytest.mark.parametrize("text", ["a-b", "a = b", "x;y", "1,5", "cat's", "mail@host", "8/255", "a;'=b"])
def test_text_that_runs_nowhere_is_left_as_it_is(text):
    sample = Sample(id="a", index=0, label=0, clean_prediction=0, left_out=text)
    (row,) = rows(make_result(samples=[sample], data={"classes": [text]}))
    assert row["left_out"] == text
    assert row["label_name"] == text
