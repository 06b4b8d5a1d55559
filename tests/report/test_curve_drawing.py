"""The robustness curve in the terminal report."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from results import make_result

from robaudit.audit.result.curves import build_curve
from robaudit.audit.result.document import Result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.report.html.charts import curve_chart, drawn_points
from robaudit.report.nearest import fitted
from robaudit.report.terminal import render_text
from robaudit.stats.rates import interval

EPS = 8 / 255


@pytest.fixture
def result() -> Result:
    distances = {i: EPS * (i + 1) / 40 for i in range(80)}
    curve = build_curve("linf", EPS, distances, 90, 100, ["fmn"])
    return conclude(make_result(k=50, curves=(curve,)), [])


def lines(text: str) -> list[str]:
    block = text.split("\nAccuracy at every eps", 1)[1]
    return block.split("\n\n", 1)[0].splitlines()


def test_bars_are_to_scale_and_fall_with_eps(result: Result) -> None:
    rows = [line for line in lines(render_text(result)) if "|" in line]
    bars = [line.split("|", 1)[1] for line in rows]
    sizes = [bar.count("#") + bar.count("=") for bar in bars]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1] > 0
    assert "90.0% [82.4, 95.1]" in rows[0]
    [marked] = [line for line in rows if line.startswith("  >")]
    assert "0.0314" in marked
    assert "50.0% [39.8, 60.2]" in marked


def test_what_it_means_is_said(result: Result) -> None:
    text = " ".join("\n".join(lines(render_text(result))).split())
    for words in (
        "an upper bound at each",
        "Half of the 90 samples",
        "For 10 of 90 nothing was found",
        "Mean accuracy",
    ):
        assert words in text


@pytest.mark.parametrize("width", [32, 45, 80, 200])
def test_no_line_is_wider_than_the_terminal(result: Result, width: int) -> None:
    found = lines(render_text(result, width=width))
    assert all(len(line) <= width for line in found)
    assert sum("#" in line and "|" in line for line in found) >= 8


def test_plain_characters_alone_carry_the_drawing(result: Result) -> None:
    text = "\n".join(lines(render_text(result)))
    assert fitted(text, "ascii").replace("inf", "∞", 1) == text.replace("L∞", "L∞", 1)
    assert "\x1b" not in text
    assert "\x1b[" in render_text(result, color=True).split("at every eps")[1]


def test_nothing_is_drawn_without_a_curve() -> None:
    assert "at every eps" not in render_text(conclude(make_result(), []))


def test_samples_that_fall_far_beyond_eps_are_drawn_falling() -> None:
    curve = build_curve("linf", EPS, {i: 0.2 + i / 100 for i in range(10)}, 10, 10, ["fmn"])
    text = render_text(conclude(make_result(k=10, n=10, curves=(curve,)), []))
    rows = [line for line in lines(text) if "|" in line]
    shares = [float(line.split()[-3].rstrip("%")) for line in rows]
    assert shares[0] == 100.0
    assert min(shares) <= 50.0


def test_the_chart_steps_at_every_distance_at_which_a_sample_falls() -> None:
    """The audit in which 84 of 100 were drawn where 77 stood: between two points nothing may fall."""
    rng = np.random.default_rng(3)
    for count, norm in ((84, "linf"), (84, "l0"), (1, "l2")):
        sizes = rng.gamma(2, EPS, count) if norm != "l0" else rng.integers(1, 40, count).astype(float)
        curve = build_curve(norm, EPS if norm != "l0" else 8, dict(enumerate(sizes)), count + 6, count + 10, ["fmn"])
        points = drawn_points(curve)
        assert {float(size) for size in sizes} <= {point.eps for point in points}
        for before, after in itertools.pairwise(points):
            if after.eps - before.eps <= 2.02e-6:  # within the tolerance of each other: nothing lies between
                continue
            for eps in np.linspace(before.eps, after.eps - 1.01e-6, 5):
                stands = sum(size > eps + 1e-6 for size in sizes) + 6
                assert before.k == stands
                assert (before.low, before.high) == interval(stands, count + 10)
        assert curve_chart(conclude(make_result(curves=(curve,)), []), curve, 0) is not None


def test_a_chart_of_very_many_distances_is_off_by_a_thousandth_of_its_width_at_most() -> None:
    sizes = np.sort(np.random.default_rng(4).gamma(2, EPS, 10_000))
    curve = build_curve("linf", EPS, dict(enumerate(sizes)), 10_000, 10_000, ["fmn"])
    assert len(curve.points) >= 10_000
    points = drawn_points(curve)
    assert len(points) <= 2002
    assert {EPS, float(sizes[-1])} <= {point.eps for point in points} | {EPS}
    width = sizes[-1] / 1000 + 1e-6
    for before, after in itertools.pairwise(points):
        for eps in np.linspace(before.eps, after.eps, 3)[:-1]:
            ends = [int((sizes > eps + shift).sum()) for shift in (-width, width)]
            assert ends[1] <= before.k <= ends[0]


def test_one_sample_is_told_without_an_interval() -> None:
    curve = build_curve("linf", EPS, {0: 0.2}, 1, 1, ["fmn"])
    text = " ".join(render_text(conclude(make_result(k=1, n=1, curves=(curve,)), [])).split())
    assert "The one sample answered correctly falls at 0.2 or nearer (median; 95% interval unknown: too few" in text
