"""What reports say of queries."""

from __future__ import annotations

import pytest
from results import make_attack, make_result

from robaudit.audit.result.document import Queried, Result, Served
from robaudit.report import html, markdown
from robaudit.report.queries import query_lines
from robaudit.report.terminal import render_text
from robaudit.report.words import threat_words

QUERIED = Queried(
    median=120, mean=210.5, median_to_success=90, most_to_success=600, repeated=7, bad=990, watched=100, flagged=80,
    flagged_samples=2, median_first_flagged=3, burst=40,
)  # fmt: skip


def result(served: Served | None = None, **changes: object) -> Result:
    attacks = (
        make_attack("apgd-ce"),
        make_attack("square", "scores", queries=1000, queried=QUERIED.model_copy(update=changes)),
    )
    found = make_result(attacks=attacks)
    return found.model_copy(update={"threat_model": found.threat_model.model_copy(update={"served": served})})


def test_a_line_an_attack_that_asked() -> None:
    [line] = query_lines(result())
    assert line == (
        "square: median 120, mean 210 a sample; 99.0% bad (no success); 7 repeated; a detector of similar queries "
        "flags 80.0% of the first ones, from the query 3 on (median), up to 40 in a row"
    )


def test_a_rate_says_how_long_successes_take() -> None:
    served = Served(rate="60/min", per_second=1.0)
    assert query_lines(result(served))[0].endswith(
        "at 60/min the median success takes 1 min 30 s, the slowest 10 min 00 s"
    )
    nothing = query_lines(result(served, median_to_success=None, most_to_success=None))[0]
    assert "takes" not in nothing


def test_rows_are_watched_by_no_detector() -> None:
    assert "detector" not in query_lines(result(watched=0, flagged=0, median_first_flagged=None, burst=0))[0]


@pytest.mark.parametrize("render", [render_text, markdown.FORMAT.render, html.FORMAT.render])
def test_every_report_tells_it(render) -> None:
    text = " ".join(render(result(Served(rate="60/min", per_second=1.0))).split())
    assert "median 120, mean 210 a sample" in text
    assert "the slowest 10 min 00 s" in text


def test_the_threat_model_says_what_an_outsider_gets() -> None:
    found = result(Served(numbers="probabilities", top=3, decimals=2, noise=0.01, reject_below=0.5, duplicates="free"))
    words = threat_words(found.threat_model, found.data)
    assert (
        "Attacks by scores are told probabilities of the 3 likeliest classes alone, rounded to 2 decimals, with noise "
        "of standard deviation 0.01; the judge sees the file itself. The service rejects inputs whose top probability "
        "is below 0.5: they have no class, and are no success. A query identical to an earlier one of its search is "
        "not charged."
    ) in words
    assert "service" not in threat_words(result().threat_model, found.data)
