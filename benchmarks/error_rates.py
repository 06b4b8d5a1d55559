"""How often gates err where the tool's advice is followed until they are decided, by simulation.

    python benchmarks/error_rates.py [--runs 10000]

Of a model whose robust accuracy lies just below its gate every pass is false. A data set is drawn for each run,
audited as the tool would audit it, and decided by the code that decides gates. The first audit is of 100 samples; where
it leaves the gate open, a way of going on is followed until the gate is decided, the data are exhausted or nothing more
is advised. All that a gate looks at of samples is how many stand, so counts are drawn and no models attacked.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.result.document import EarlierTests
from robaudit.audit.verdict.decisions import Outcome, decide
from robaudit.audit.verdict.readings import of_rate
from robaudit.audit.verdict.retests import figure_tested, standing_of
from robaudit.stats.looks import Decision, Design, design
from robaudit.stats.looks import decide as decide_look
from robaudit.stats.rates import lower_bound, rate, sample_size_to_decide

FIRST = 100
GATES = (0.3, 0.5, 0.8)
SIZES = (1_000, 10_000, 20_000)
RADII = {"linf": 0.03}
MOST_TESTS = 12
KEPT = 1 << 18
"""Decisions that are remembered."""

Rng: TypeAlias = np.random.Generator
Way: TypeAlias = Callable[[Rng, float, int], str]


class Draws:
    """How many of the first samples of a data set stand, in one random order of it; counted when asked for.

    Args:
        rng: draws.
        size: samples in the data set.
        standing: how many of them stand.
    """

    def __init__(self, rng: Rng, size: int, standing: int) -> None:
        self.rng = rng
        self.sizes, self.counts = [0, size], [0, standing]

    def first(self, size: int) -> int:
        """Of the first so many samples, those that stand; given what is known of fewer and of more."""
        place = bisect_left(self.sizes, size)
        if self.sizes[place] != size:
            below, above = place - 1, place
            good = self.counts[above] - self.counts[below]
            bad = self.sizes[above] - self.sizes[below] - good
            more = int(self.rng.hypergeometric(good, bad, size - self.sizes[below]))
            self.counts.insert(place, self.counts[below] + more)
            self.sizes.insert(place, size)
        return self.counts[place]


@dataclass(frozen=True)
class Gate:
    """The gate under test: on robust accuracy, with what earlier tests spent of its error."""

    bound: float
    confidence: float = 0.95
    earlier: tuple[int, float] = (0, 0.0)

    @property
    def spec(self) -> GateSpec:
        return _spec(self.bound, self.confidence)

    @property
    def tests(self) -> tuple[EarlierTests, ...]:
        """Earlier tests, as run directories tell of them."""
        tests, error = self.earlier
        figure, allowed = figure_tested(self.spec.metric, RADII, None), 1 - self.confidence
        return (EarlierTests(figure=figure, tests=tests, error=error, allowed=allowed),) if tests else ()

    def after(self, found: Outcome) -> Gate:
        """The gate with one more test behind it."""
        assert found.further is not None
        tests, error = self.earlier
        return Gate(self.bound, self.confidence, (tests + 1, error + found.further.spent))


@lru_cache
def _spec(bound: float, confidence: float) -> GateSpec:
    return GateSpec(metric="robust_accuracy", min=bound, confidence=confidence)


Test: TypeAlias = Callable[[Draws, int, Gate], Outcome]


def fixed(draws: Draws, size: int, gate: Gate) -> Outcome:
    """An audit of so many samples."""
    return _decided(draws.first(size), size, gate, 0, None)


def until_decided(draws: Draws, size: int, gate: Gate) -> Outcome:
    """An audit with looks at so many samples at most."""
    plan, share = _design(size), _share(gate)
    for look, (seen, part) in enumerate(zip(plan.sizes, plan.shares, strict=True), 1):
        k = draws.first(seen)
        found = _look(k, seen, part * share, gate.bound, 1 - gate.confidence)
        if found != "open":
            return _decided(k, seen, gate, size, look)
    return _decided(k, size, gate, size, None)


_design = lru_cache(design)


@lru_cache
def _share(gate: Gate) -> float:
    return standing_of(gate.spec, gate.tests, RADII).share


@lru_cache(KEPT)
def _look(k: int, n: int, share: float, least: float, error: float) -> Decision:
    return decide_look(k, n, share, least=least, false_pass=error, false_fail=error)


@lru_cache(KEPT)
def _decided(k: int, n: int, gate: Gate, most: int, stopped_at: int | None, drawn: int | None = None) -> Outcome:
    """The gate at the end of an audit, of at most ``most`` samples where it had looks, on ``n`` of ``drawn``."""
    sequential: Any = None
    if most:
        plan: Design = _design(most)
        pairs = list(zip(plan.sizes, plan.shares, strict=True))[:stopped_at]
        looks = [SimpleNamespace(share=s, gates=(SimpleNamespace(metric=gate.spec.metric, n=m),)) for m, s in pairs]
        stopped = "exhausted" if stopped_at is None else "decided"
        sequential = SimpleNamespace(share=pairs[-1][1], looks=looks, stopped=stopped)
    result: Any = SimpleNamespace(
        sequential=sequential,
        comparison=None,
        checks=(),
        earlier=gate.tests,
        target=SimpleNamespace(assumed=()),
        data=SimpleNamespace(drawn=n if drawn is None else drawn),
        threat_model=SimpleNamespace(norm="linf", eps=RADII["linf"], also=()),
    )
    return decide(gate.spec, of_rate(rate(k, n)), result, [])


def goes_on(found: Outcome) -> bool:
    """Whether a further test is advised."""
    return found.status == "inconclusive" and found.further is not None and found.further.samples is not None


def follow(test: Test, again: Test, *, fresh: bool = False) -> Way:
    """A first test, then further ones of as many samples as was said, held to what is left of the error.

    Args:
        test: the first.
        again: the others.
        fresh: draw with another seed each time; else the samples of a smaller draw are the first of a larger one.
    """

    def way(rng: Rng, bound: float, size: int) -> str:
        standing = int(rng.binomial(size, bound))
        draws, gate, seen = Draws(rng, size, standing), Gate(bound), FIRST
        found = test(draws, seen, gate)
        for _ in range(MOST_TESTS):
            if not goes_on(found) or seen == size:
                break
            assert found.further is not None
            assert found.further.samples is not None
            gate, seen = gate.after(found), min(found.further.samples, size)
            if fresh:
                draws = Draws(rng, size, standing)
            found = again(draws, seen, gate)
        return found.status

    return way


def other_data(test: Test) -> Way:
    """Further tests on samples that no test has seen, with the confidence written at the gate."""

    def way(rng: Rng, bound: float, size: int) -> str:
        def draws(count: int) -> Draws:
            return Draws(rng, count, int(rng.binomial(count, bound)))

        gate = Gate(bound)
        found = test(draws(FIRST), FIRST, gate)
        for _ in range(MOST_TESTS):
            if not goes_on(found):
                break
            assert found.further is not None
            assert found.further.confidence is not None
            gate, seen = Gate(bound, found.further.confidence), min(found.further.samples or 1, size)
            found = until_decided(draws(seen), seen, gate)
        return found.status

    return way


def of_a_class(rng: Rng, bound: float, size: int) -> str:
    """A gate on a class that a tenth of the samples belong to, then more samples as was said."""
    members = int(rng.binomial(size, 0.1))
    of_class, standing = Draws(rng, size, members), Draws(rng, members, int(rng.binomial(members, bound)))
    gate, seen, found = Gate(bound), FIRST, None
    for _ in range(MOST_TESTS + 1):
        n = of_class.first(seen)
        found = _decided(standing.first(n), n, gate, 0, None, seen)
        if not goes_on(found) or seen == size:
            break
        assert found.further is not None
        assert found.further.samples is not None
        gate, seen = gate.after(found), min(found.further.samples, size)
    assert found is not None
    return found.status


def move_the_bound(rng: Rng, bound: float, size: int) -> str:
    """The highest bound that the interval clears, set afterwards on the same result: false if above the truth."""
    del size
    return "pass" if lower_bound(int(rng.binomial(FIRST, bound)), FIRST) >= bound else "inconclusive"


def as_it_was(rng: Rng, bound: float, size: int) -> str:
    """More samples at the whole error each time, which is not advised any more."""
    draws, gate, seen = Draws(rng, size, int(rng.binomial(size, bound))), Gate(bound), FIRST
    for _ in range(MOST_TESTS):
        found = fixed(draws, seen, gate)
        needed = sample_size_to_decide(draws.first(seen), seen, bound)
        if found.status != "inconclusive" or needed is None or seen == size:
            break
        seen = min(max(needed, seen + 1), size)
    return found.status


WAYS: dict[str, Way] = {
    "a fixed number, then `--until-decided`": follow(fixed, until_decided),
    "a fixed number, then a larger one": follow(fixed, fixed),
    "a fixed number, then other seeds": follow(fixed, until_decided, fresh=True),
    "a fixed number, then other data at the confidence that is named": other_data(fixed),
    "`--until-decided`, then more samples": follow(until_decided, until_decided),
    "`--until-decided`, then other data at the confidence that is named": other_data(until_decided),
    "a gate on a class (a tenth of the samples), then a larger number": of_a_class,
    "the bound moved on the same result": move_the_bound,
    "(not advised) more samples at the whole error": as_it_was,
}


def false_passes(way: Way, bound: float, size: int, runs: int, seed: int = 0) -> float:
    """Share of runs that end in a pass, of a model just below its gate."""
    rng = np.random.default_rng([seed, round(1000 * bound), size])
    return sum(way(rng, bound, size) == "pass" for _ in range(runs)) / runs


def class_gates(runs: int, classes: int = 10, samples: int = 20, bound: float = 0.7) -> tuple[float, float]:
    """Gates on all classes: how often one fails where all lie on the bound, and how often all pass where one lies on it
    and the others far above."""
    rng = np.random.default_rng(1)
    statuses = [_decided(k, samples, Gate(bound), 0, None).status for k in range(samples + 1)]
    at = rng.binomial(samples, bound, size=(runs, classes))
    fails = np.mean([any(statuses[k] == "fail" for k in row) for row in at])
    return float(fails), float(np.mean([statuses[k] == "pass" for k in at[:, 0]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    print(f"False passes in %, {runs:,} runs each (standard error at 5 %: {100 * (0.05 * 0.95 / runs) ** 0.5:.2f} %)\n")
    print("| way | " + " | ".join(f"gate {g:g}, {n:,}" for g in GATES for n in SIZES) + " |")
    print("|-|" + "-|" * (len(GATES) * len(SIZES)))
    for name, way in WAYS.items():
        rates = [false_passes(way, bound, size, runs) for bound in GATES for size in SIZES]
        print(f"| {name} | " + " | ".join(f"{100 * found:.2f}" for found in rates) + " |", flush=True)
    fails, passes = class_gates(10 * runs)
    print(f"\nTen class gates (n = 20, bound 0.7): one fails falsely in {fails:.0%}; all pass falsely in {passes:.1%}.")


if __name__ == "__main__":
    main()
