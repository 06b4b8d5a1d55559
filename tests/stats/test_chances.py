"""What a random model's draws say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robaudit.stats.chances import DRAWS, hardly, mean_survival, mostly, survival


def test_the_rule_of_fifty_draws() -> None:
    """P(k >= 32 | p = 1/2) = .0325 and P(k >= 31) = .0595, so that 32 of 50 are the fewest that are no chance."""
    assert [k for k in range(DRAWS + 1) if mostly(k, DRAWS)] == list(range(32, 51))
    assert [k for k in range(DRAWS + 1) if hardly(k, DRAWS)] == list(range(19))
    assert not mostly(0, 0)


def test_survival_of_few_tries_counts_choices() -> None:
    """Of 4 draws 1 is wrong: 3 of 4 single tries survive, and 3 of the 6 pairs."""
    assert survival(1, 4, 1) == 0.75
    assert survival(1, 4, 2) == 0.5
    assert survival(1, 4, 4) == 0.0
    assert survival(0, 4, 100) == 1.0
    assert survival(1, 4, 8) == 0.75**8
    with pytest.raises(ValueError, match="no chance"):
        survival(5, 4, 1)


@given(st.floats(0.01, 0.99), st.integers(1, 20))
def test_survival_is_unbiased_up_to_the_draws(p: float, tries: int) -> None:
    """Its mean over binomial counts is the chance that so many tries survive."""
    m = 20
    mean = sum(math.comb(m, k) * p**k * (1 - p) ** (m - k) * survival(k, m, tries) for k in range(m + 1))
    assert math.isclose(mean, (1 - p) ** tries, rel_tol=1e-9, abs_tol=1e-12)


def test_lost_samples_survive_nothing() -> None:
    assert mean_survival([(0, 4), (1, 4)], 2, 1) == (1 + 0.75) / 4
    assert mean_survival([], 3, 1) == 0
    with pytest.raises(ValueError, match="no sample"):
        mean_survival([], 0, 1)
