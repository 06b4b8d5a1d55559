import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc
from scipy.stats import binomtest, multinomial

from robaudit.stats.paired import (
    mcnemar_p,
    paired_interval,
    paired_lower_bound,
    paired_size_to_decide,
    paired_upper_bound,
)

tables = st.integers(1, 300).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m), st.just(n)))
)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_a_two_sided_sign_test(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_p(gained, lost) == pytest.approx(min(expected, 1.0), rel=1e-7)


@settings(deadline=None)
@given(tables, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_and_test_never_contradict_each_other(table, confidence):
    gained, m, n = table
    low, high = paired_interval(gained, m - gained, n, confidence)
    assert -1 <= low <= (2 * gained - m) / n <= high <= 1
    p = mcnemar_p(gained, m - gained)
    if abs(p - (1 - confidence)) > 1e-6:
        assert (low > 0 or high < 0) == (p < 1 - confidence)


@settings(deadline=None)
@given(tables)
def test_the_bounds_mirror_each_other(table):
    gained, m, n = table
    assert paired_lower_bound(gained, m - gained, n) == -paired_upper_bound(m - gained, gained, n)


def test_where_nothing_was_gained_it_is_the_bound_of_one_proportion():
    for lost, n in ((0, 100), (5, 100), (40, 40)):
        low = paired_lower_bound(0, lost, n)
        assert betainc(lost + 1, n - lost, -low) == pytest.approx(0.95, abs=1e-6) if lost < n else low == -1
    assert paired_lower_bound(0, 0, 100) == pytest.approx(-(1 - 0.05**0.01), abs=1e-9)


def test_it_is_the_quantile_of_the_melded_draws():
    """The definition, by simulation."""
    rng = np.random.default_rng(1)
    draws = 2_000_000
    for gained, lost, n in ((1, 7, 21), (30, 60, 1000), (12, 3, 40)):
        m, share = gained + lost, rng.beta(gained, lost + 1, draws)
        first = rng.beta(m, n - m + 1, draws) * (2 * share - 1)
        second = rng.beta(m + 1, n - m, draws) * (2 * share - 1)
        expected = min(np.quantile(first, 0.05), np.quantile(second, 0.05))
        assert paired_lower_bound(gained, lost, n) == pytest.approx(expected, abs=2e-3 * n**-0.5 * 5)


@pytest.mark.parametrize("n", [12, 30])
def test_it_covers_at_least_as_often_as_it_says(n):
    """Exactly, over all outcomes of n pairs, on a grid of truths."""
    tables = [(g, lost) for g in range(n + 1) for lost in range(n + 1 - g)]
    bounds = np.array([paired_lower_bound(*table, n, 0.9) for table in tables])
    counts = np.array([(g, lost, n - g - lost) for g, lost in tables])
    for gain in np.linspace(0, 1, 21):
        for loss in np.linspace(0, 1 - gain, 11):
            shares = [gain, loss, max(0.0, 1 - gain - loss)]
            missed = multinomial.pmf(counts, n, shares)[bounds > gain - loss + 1e-9].sum()
            assert missed <= 0.1 + 1e-6, (gain, loss)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "threshold"), [(3, 5, 100, -0.05), (0, 0, 10, -0.05), (20, 3, 100, 0.1), (2, 12, 60, -0.1)]
)
def test_the_size_said_to_decide_decides(gained, lost, n, threshold):
    size = paired_size_to_decide(gained, lost, n, threshold)
    assert size > n
    down, up = gained * size // n, -(-lost * size // n)
    if gained - lost > threshold * n:
        assert paired_lower_bound(down, up, size) >= threshold - 1e-9
    else:
        assert paired_upper_bound(-(-gained * size // n), lost * size // n, size) < threshold


def test_a_difference_on_the_threshold_is_never_decided():
    assert paired_size_to_decide(5, 10, 100, -0.05) is None
    assert paired_size_to_decide(0, 0, 0, -0.05) is None
    assert paired_size_to_decide(0, 0, 200, -0.05) == 200


@pytest.mark.parametrize(("gained", "lost", "n", "confidence"), [(-1, 0, 3, 0.95), (2, 2, 3, 0.95), (0, 0, 3, 1.0)])
def test_impossible_counts_are_refused(gained, lost, n, confidence):
    with pytest.raises(ValueError):
        paired_interval(gained, lost, n, confidence)
