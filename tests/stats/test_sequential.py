"""Repeated looks: exact error rates, simulated audits, intervals at the look where an audit stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from robaudit.stats.looks import Design, at_share, decide, design, rate_at_share
from robaudit.stats.rates import lower_bound, rate, upper_bound

RUNS = 20_000
SURE = 1e-6
"""Probability that a test below fails although the rates hold, if the seed were drawn anew."""


@dataclass(frozen=True)
class Boundaries:
    """Of a gate with a minimum: at each look the largest count that fails, and the smallest that passes."""

    plan: Design
    fail: list[int]
    ok: list[int]


def boundaries(plan: Design, least: float, **errors: float) -> Boundaries:
    fail, ok = [], []
    for n, share in zip(plan.sizes, plan.shares, strict=True):
        found = [decide(k, n, share, least=least, **errors) for k in range(n + 1)]
        assert found == sorted(found, key=["fail", "open", "pass"].index)  # the more stand, the better
        fail.append(found.count("fail") - 1)
        ok.append(n + 1 - found.count("pass"))
    return Boundaries(plan, fail, ok)


@dataclass(frozen=True)
class Outcomes:
    """Probabilities to pass and to fail, and the mean number of samples."""

    ok: float
    fail: float
    samples: float


def exact(bounds: Boundaries, p: float) -> Outcomes:
    """By recursion over the looks: the distribution of the count, of audits that are not decided yet."""
    going, seen, ok, fail, samples = np.ones(1), 0, 0.0, 0.0, 0.0
    for n, low, high in zip(bounds.plan.sizes, bounds.fail, bounds.ok, strict=True):
        going = np.convolve(going, binom.pmf(np.arange(n - seen + 1), n - seen, p))
        seen = n
        ok, fail = ok + going[high:].sum(), fail + going[: low + 1].sum()
        samples += n * (going[high:].sum() + going[: low + 1].sum())
        going[high:], going[: low + 1] = 0, 0
    return Outcomes(ok, fail, samples + seen * going.sum())


def simulated(bounds: Boundaries, p: float, seed: int, runs: int = RUNS) -> tuple[Outcomes, np.ndarray, np.ndarray]:
    """Audits of models of which a share p stands: outcomes, and count and look of each at its end."""
    sizes = np.array(bounds.plan.sizes)
    steps = np.diff(sizes, prepend=0)
    counts = np.random.default_rng(seed).binomial(steps, p, (runs, len(steps))).cumsum(1)
    passed, failed = counts >= np.array(bounds.ok), counts <= np.array(bounds.fail)
    decided = passed | failed
    decided[:, -1] = True
    look = decided.argmax(1)
    rows = np.arange(runs)
    outcome = Outcomes(passed[rows, look].mean(), failed[rows, look].mean(), sizes[look].mean())
    return outcome, counts[rows, look], look


def most(probability: float, runs: int = RUNS) -> float:
    """The largest share of the runs that an event of at most this probability may take."""
    return float(binom.ppf(1 - SURE, runs, probability)) / runs


@given(st.integers(1, 30_000))
def test_looks_rise_to_the_last_sample_and_spend_the_error_once(samples: int) -> None:
    plan = design(samples)
    assert list(plan.sizes) == sorted(set(plan.sizes))
    assert plan.sizes[-1] == samples
    assert isclose(sum(plan.shares), 1)
    assert len(plan.sizes) == len(plan.shares)
    assert min(plan.shares) > 0


def test_few_samples_are_looked_at_once_as_without_looks() -> None:
    plan = design(30)
    assert plan == Design((30,), (1.0,))
    for k in range(31):
        low, high = lower_bound(k, 30), upper_bound(k, 30)
        wanted = "pass" if low >= 0.5 else "fail" if high < 0.5 else "open"
        assert decide(k, 30, 1.0, least=0.5) == wanted
    assert at_share(0.95, 1.0) == 0.95


@pytest.mark.parametrize("arguments", [(0,), (10, 0), (10, 5, 1.0), (10, 5, 2.0, 0.0), (10, 5, 2.0, 1.5)])
def test_a_design_without_sense_is_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no looks"):
        design(*arguments)


def test_a_maximum_is_a_minimum_of_the_other_share() -> None:
    for k in range(65):
        mirrored = decide(64 - k, 64, 0.3, least=0.4, false_pass=0.01, false_fail=0.1)
        assert decide(k, 64, 0.3, most=0.6, false_pass=0.01, false_fail=0.1) == mirrored
    assert decide(32, 64, 0.3, least=0.2, most=0.8) == "pass"
    assert decide(32, 64, 0.3, least=0.49, most=0.8) == "open"
    assert decide(0, 64, 0.3, least=0.2, most=0.8) == decide(64, 64, 0.3, least=0.2, most=0.8) == "fail"


@pytest.mark.parametrize("samples", [50, 200, 1000])
@pytest.mark.parametrize("least", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("errors", [(0.05, 0.05), (0.01, 0.2)])
def test_error_rates_hold_exactly(samples: int, least: float, errors: tuple[float, float]) -> None:
    false_pass, false_fail = errors
    bounds = boundaries(design(samples), least, false_pass=false_pass, false_fail=false_fail)
    at = exact(
        bounds, least
    )  # of all models that should fail the best passes most often, of the others the worst fails
    assert at.ok <= false_pass
    assert at.fail <= false_fail
    better, worse = exact(bounds, least + 0.05), exact(bounds, max(least - 0.05, 0))
    assert worse.ok <= at.ok
    assert better.fail <= at.fail


@pytest.mark.parametrize("least", [0.3, 0.5])
@pytest.mark.parametrize("away", [-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2])
def test_simulated_audits_keep_the_rates(
    least: float, away: float, record_property: Callable[[str, object], None]
) -> None:
    bounds = boundaries(design(500), least)
    p = least + away
    found, _, _ = simulated(bounds, p, seed=round(1000 * p))
    record_property("mean samples of at most 500", float(found.samples))
    if away <= 0:
        assert found.ok <= most(0.05)
    if away >= 0:
        assert found.fail <= most(0.05)
    wanted = exact(bounds, p)
    assert abs(found.samples - wanted.samples) < 5 * 500 / RUNS**0.5
    assert abs(found.ok - wanted.ok) < 5 * 0.5 / RUNS**0.5
    assert abs(found.fail - wanted.fail) < 5 * 0.5 / RUNS**0.5
    if abs(away) == 0.2:
        assert found.samples < 80  # of 500: clear cases end early
        assert max(found.ok, found.fail) > 0.999


def test_intervals_hold_where_the_audit_stopped_and_those_of_a_fixed_number_do_not() -> None:
    plan, p = design(1000), 0.5
    bounds = boundaries(plan, p)
    _, counts, looks = simulated(bounds, p, seed=5)
    missed = naive = 0.0
    for k, look in set(zip(counts.tolist(), looks.tolist(), strict=True)):
        share = float(np.mean((counts == k) & (looks == look)))
        fixed = rate(k, plan.sizes[look])
        found = rate_at_share(fixed, plan.shares[look])
        assert (found.k, found.n, found.estimate, found.confidence) == (k, plan.sizes[look], fixed.estimate, 0.95)
        missed += share * (not found.low <= p <= found.high)
        naive += share * (not fixed.low <= p <= fixed.high)
    assert missed <= most(0.05)
    assert naive > most(0.05)  # this is why


def test_looking_with_fixed_bounds_breaks_the_rates_that_the_looks_keep() -> None:
    plan = design(1000)
    careless = Design(plan.sizes, (1.0,) * len(plan.sizes))
    assert exact(boundaries(careless, 0.5), 0.5).ok > 0.1
    assert exact(boundaries(plan, 0.5), 0.5).ok <= 0.05


def test_what_the_docstring_says() -> None:
    found = exact(boundaries(design(500), 0.5), 0.6)
    assert round(found.ok, 2) == 0.99
    assert round(found.samples) == 232


def test_the_table_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sequential.md").read_text("utf-8")
    rows = [line.strip("| \n").split("|") for line in text.splitlines() if re.match(r"\| \d+ % ", line)]
    bounds = boundaries(design(500), 0.5)
    assert f"looks at {', '.join(map(str, bounds.plan.sizes))})" in text
    assert len(rows) == 9
    for row in rows:
        p, samples, ok, fail, left = (float(cell.strip().removesuffix(" %")) for cell in row)
        found = exact(bounds, p / 100)
        assert round(found.samples) == samples
        assert [round(100 * x, 1) for x in (found.ok, found.fail, 1 - found.ok - found.fail)] == [ok, fail, left]
