"""The price of secrecy in the terminal report, and in words."""

from __future__ import annotations

import pytest
from report_cases import BLACK_BOX, cases, make_secrecy
from results import make_result

from robaudit.audit.result.document import Result
from robaudit.audit.result.secrecy import build_secrecy
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.html.charts import secrecy_chart
from robaudit.report.nearest import fitted
from robaudit.report.secrecy import point_at, secrecy_rows, secrecy_sentences
from robaudit.report.terminal import render_text


@pytest.fixture
def result() -> Result:
    return cases()["secrecy"]


def lines(text: str) -> list[str]:
    block = text.split("\nThe price of secrecy", 1)[1]
    return block.split("\n\n", 1)[0].splitlines()


def test_each_access_has_bars_that_fall_with_the_queries(result: Result) -> None:
    told = lines(render_text(result))
    heads = [line.strip() for line in told if line.strip() in ("labels: labels/rays", "scores: scores/square")]
    assert heads == ["labels: labels/rays", "scores: scores/square"]
    rows = [line for line in told if "|" in line]
    assert [row.split("|")[0].strip() for row in rows] == ["0", "10", "100", "1,000"] * 2 + ["any"]
    assert [row.split("|")[1].split("%")[0].split()[-1] + "%" for row in rows] == [
        "93.0%",
        "92.0%",
        "83.0%",
        "53.0%",
        "93.0%",
        "90.0%",
        "60.0%",
        "13.0%",
        "2.0%",
    ]
    sizes = [row.count("#") + row.count("=") for row in rows[:4]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] > 0


def test_censored_medians_and_means_are_told_as_such(result: Result) -> None:
    heads, (labels, scores, white) = secrecy_rows(result.secrecy[0])
    assert heads == ["access", "0", "10", "100", "1,000", "median queries", "mean queries"]
    assert labels[-2] == "more than 1,000"
    assert labels[-1] == "at least 658.1"  # (10 + 20 + ... + 400 + 53 * 1000) / 93
    assert scores[-2] == "141"
    assert white[1:] == ["2.0% [0.2, 7.0]"] * 4 + ["-", "-"]
    text = " ".join(secrecy_sentences(result, result.secrecy[0]))
    assert "Labels: 40 of 93 samples fell within 1,000 queries; median more than 1,000" in text
    assert "an attacker with labels alone needs more than 7.1 times the queries" in text
    assert "(more than 1,000 for 141)" in text
    assert "Secrecy of the file buys 11.0 points: 13.0% [7.1, 21.2] stand with scores and 1,000 queries" in text


def test_what_came_to_no_end_is_said(result: Result) -> None:
    part = (*BLACK_BOX[:2], BLACK_BOX[2].model_copy(update={"status": "partial"}))
    text = " ".join(secrecy_sentences(result, make_secrecy(part)))
    assert "Attacks did not come to their end, so that more may fall: scores, white box." in text
    assert "did not come to their end" not in " ".join(secrecy_sentences(result, result.secrecy[0]))


def test_beyond_its_end_a_curve_says_nothing(result: Result) -> None:
    labels, _, white = result.secrecy[0].curves
    assert point_at(labels, 1001) is None
    assert point_at(labels, 999).k == 53
    assert point_at(white, 10**6).k == 2


def test_without_samples_nothing_is_drawn() -> None:
    empty = build_secrecy("linf", BLACK_BOX, {}, 0, 0, 0)
    assert empty is not None
    result = conclude(make_result(attacks=BLACK_BOX, secrecy=(empty,)), [])
    assert secrecy_chart(result, empty, 0) is None
    assert "Labels: 0 of 0 samples fell within 1,000 queries." in " ".join(secrecy_sentences(result, empty))
    assert "The price of secrecy" in render_text(result)


@pytest.mark.parametrize("width", [32, 45, 80, 200])
def test_no_line_is_wider_than_the_terminal(result: Result, width: int) -> None:
    assert all(len(line) <= width for line in lines(render_text(result, width=width)))


def test_it_fits_a_terminal_of_plain_letters(result: Result) -> None:
    fitted(render_text(result), "ascii").encode("ascii")
