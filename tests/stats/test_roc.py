"""The area under the ROC curve: known areas, the interval's coverage, and the curve's ends."""

from __future__ import annotations

import numpy as np
import pytest

from robaudit.stats.roc import area, curve


def test_known_areas() -> None:
    assert area([0, 1, 2], [3, 4]).estimate == 1.0  # type: ignore[union-attr]
    assert area([3, 4], [0, 1]).estimate == 0.0  # type: ignore[union-attr]
    assert area([1, 1], [1, 1, 1]).estimate == 0.5  # type: ignore[union-attr]
    assert area([0, 2], [1, 3]).estimate == 0.75  # type: ignore[union-attr]
    assert area([0.0, 1.0], [float("inf"), 0.5]).estimate == 0.75  # type: ignore[union-attr]
    assert area([], [1.0]) is None
    assert area([1.0], []) is None


def test_an_area_of_one_has_a_width_that_falls_with_the_samples() -> None:
    few, many = area([0] * 5, [1] * 5), area([0] * 50, [1] * 50)
    assert few is not None
    assert many is not None
    assert few.high == many.high == 1.0
    assert few.low < many.low < 1.0
    other = area([1] * 5, [0] * 5)
    assert other is not None
    assert other.low == 0.0
    assert other.high == pytest.approx(1 - few.low, abs=1e-9), "the mirror image"


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_interval_covers_the_area_of_normal_numbers(shift: float) -> None:
    from scipy.special import ndtr

    true, draw, hits = float(ndtr(shift / np.sqrt(2))), np.random.default_rng(1), 0
    for _ in range(600):
        found = area(draw.normal(size=25), draw.normal(size=40) + shift)
        assert found is not None
        assert found.low <= found.estimate <= found.high
        hits += found.low <= true <= found.high
    assert hits / 600 >= 0.92


def test_the_curve_runs_from_nothing_to_all() -> None:
    assert curve([0.0, 2.0], [1.0, 3.0]) == ((0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0))
    assert curve([], [1.0]) == ()
