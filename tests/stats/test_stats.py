from math import ceil, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest

from robaudit.stats.rates import (
    Rate,
    interval,
    lower_bound,
    mean_lower_bound,
    mean_size_to_decide,
    median_rank,
    median_ranks,
    paired_excess,
    paired_p,
    rate,
    sample_size_to_decide,
    upper_bound,
    weighted_rate,
)

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@given(counts, confidences)
def test_the_interval_is_scipys_exact_one(count, confidence):
    k, n = count
    low, high = interval(k, n, confidence)
    exact = binomtest(k, n).proportion_ci(confidence, method="exact")
    assert low == pytest.approx(exact.low, abs=1e-9)
    assert high == pytest.approx(exact.high, abs=1e-9)


@given(counts, confidences)
def test_bounds_are_ordered_and_mirror_each_other(count, confidence):
    k, n = count
    low, high = interval(k, n, confidence)
    assert 0 <= low <= lower_bound(k, n, confidence) <= k / n <= upper_bound(k, n, confidence) <= high <= 1
    assert lower_bound(k, n, confidence) == pytest.approx(1 - upper_bound(n - k, n, confidence), abs=1e-9)


@given(counts)
def test_more_confidence_widens(count):
    k, n = count
    (low_a, high_a), (low_b, high_b) = interval(k, n, 0.9), interval(k, n, 0.99)
    assert low_b <= low_a
    assert high_a <= high_b


@given(st.integers(1, 500))
def test_nothing_and_everything(n):
    assert interval(0, n)[0] == 0
    assert interval(n, n)[1] == 1
    assert upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n))
    assert lower_bound(n, n) == pytest.approx(0.05 ** (1 / n))


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.9])
def test_the_interval_covers_at_least_as_often_as_it_says(p):
    n = 60
    covered = sum(binom.pmf(k, n, p) for k in range(n + 1) if interval(k, n, 0.9)[0] <= p <= interval(k, n, 0.9)[1])
    assert covered >= 0.9


def test_the_bound_is_the_beta_quantile():
    assert lower_bound(41, 100) == pytest.approx(beta.ppf(0.05, 41, 60))


def test_no_samples_know_nothing():
    assert rate(0, 0) == Rate(0, 0, None, 0.0, 1.0, 0.95)
    assert sample_size_to_decide(0, 0, 0.5) is None


@pytest.mark.parametrize(("k", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_impossible_counts_are_refused(k, n, confidence):
    with pytest.raises(ValueError):
        rate(k, n, confidence)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.05, 0.95),
)
def test_the_size_that_decides_does_decide(count, threshold):
    k, n = count
    size = sample_size_to_decide(k, n, threshold)
    if size is None:
        return
    assert size >= n
    if k / n > threshold:
        assert lower_bound(k * size // n, size) >= threshold
    else:
        assert upper_bound(-(-k * size // n), size) < threshold


def test_known_sizes():
    assert sample_size_to_decide(90, 100, 0.4) == 100  # decided already
    assert sample_size_to_decide(10, 10, 0.9) == 29  # log(0.05) / log(0.9) = 28.4
    assert sample_size_to_decide(40, 100, 0.4) is None
    assert sample_size_to_decide(100, 100, 1.0) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_paired_test_is_a_sign_test(wins, losses):
    expected = binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert paired_p(wins, losses) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("gain", "loss", "n"), [(0.1, 0.1, 50), (0.2, 0.05, 40), (0.02, 0.01, 100)])
def test_a_paired_bound_covers_the_true_difference(gain, loss, n):
    """Exactly, over all outcomes of n pairs."""
    covered = 0.0
    for wins in range(n + 1):
        rest = binom.pmf(range(n - wins + 1), n - wins, loss / (1 - gain))
        for losses, share in enumerate(rest):
            if paired_excess(wins, losses, n, 0.9) >= gain - loss:
                covered += binom.pmf(wins, n, gain) * share
    assert covered >= 0.9


@pytest.mark.parametrize("n", [1, 4, 5, 8, 30, 101])
def test_the_order_statistic_bounds_the_median(n):
    """Exactly: it lies above the median where at most so many values lie below that."""
    place = median_rank(n, 0.95)
    if place is None:
        assert binom.cdf(0, n, 0.5) > 0.05
        return
    assert binom.cdf(place, n, 0.5) <= 0.05 < binom.cdf(place + 1, n, 0.5)
    low, high = median_ranks(n) or (None, None)
    assert low is None or (low <= place and low + high == n - 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), confidences)
def test_the_bound_of_a_mean_lies_below_it(values, confidence):
    assert -1e-12 <= mean_lower_bound(values, confidence) <= sum(values) / len(values) + 1e-12


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_the_bound_of_a_mean_covers_at_least_as_often_as_it_says(p):
    n = 40
    missed = sum(binom.pmf(k, n, p) for k in range(n + 1) if mean_lower_bound([1.0] * k + [0.0] * (n - k), 0.9) > p)
    assert missed <= 0.1


def test_the_bound_of_a_mean_in_closed_form():
    band = (-log(0.05) / 200) ** 0.5
    assert mean_lower_bound([0.5] * 100) == pytest.approx(0.5 * (1 - band))
    assert mean_lower_bound([1.0] * 60 + [0.0] * 40) == pytest.approx(0.6 - band)
    assert mean_size_to_decide([0.5] * 100, 0.45) == ceil(-log(0.05) / 2 / 0.1**2)
    assert mean_size_to_decide([0.5] * 100, 0.5) is None
    size = mean_size_to_decide([0.2, 0.6] * 50, 0.45)
    assert 1 - mean_lower_bound([0.4, 0.8] * (size // 2 + 1)) < 0.45
    with pytest.raises(ValueError):
        mean_lower_bound([1.5])


def test_copies_are_no_further_evidence() -> None:
    plain, copies = rate(6, 10), weighted_rate([7] * 10, [True] * 6 + [False] * 4)
    assert (copies.k, copies.n, copies.estimate) == (42, 70, 0.6)
    assert copies.effective == pytest.approx(10)
    assert (copies.low, copies.high) == pytest.approx((plain.low, plain.high))
    assert weighted_rate([1] * 10, [True] * 6 + [False] * 4) == plain
    # one input repeated beside ten others says hardly more than one
    uneven = weighted_rate([200, *[1] * 10], [False, *[True] * 10])
    assert uneven.effective == pytest.approx(210**2 / (200**2 + 10))
    assert uneven.low <= uneven.estimate <= uneven.high
    assert uneven.evidence == pytest.approx((10 / 210 * uneven.effective, uneven.effective))
