"""How often gates err where the tool's advice is followed until they are decided, by simulation.

    python benchmarks/error_rates.py [--runs 2000]

Of a model whose robust accuracy lies just below its gate every pass is false. A data set is drawn for each run,
audited as the tool would audit it, and decided by the code that decides gates. The first audit is of 100 samples; where
it leaves the gate open, a way of going on is followed until the gate is decided, the data are exhausted or nothing more
is advised.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.decisions import Outcome, decide
from robaudit.audit.gatespecs import GateSpec
from robaudit.audit.readings import of_rate
from robaudit.audit.result import EarlierTests
from robaudit.audit.retests import figure_tested, standing_of
from robaudit.sequential import decide as decide_look
from robaudit.sequential import design
from robaudit.stats import lower_bound, rate, sample_size_to_decide

FIRST = 100
GATES = (0.3, 0.5, 0.8)
SIZES = (1_000, 10_000, 20_000)
RADII = {"linf": 0.03}
MOST_TESTS = 12

Stands = NDArray[np.bool_]
Way = Callable[[np.random.Generator, float, int], str]


def gate_of(bound: float, confidence: float = 0.95) -> GateSpec:
    """The gate under test."""
    return GateSpec(metric="robust_accuracy", min=bound, confidence=confidence)


def fixed(stands: Stands, gate: GateSpec, earlier: tuple[EarlierTests, ...] = ()) -> Outcome:
    """An audit of all the given samples."""
    return _decided(stands, gate, earlier, None)


def until_decided(stands: Stands, gate: GateSpec, earlier: tuple[EarlierTests, ...] = ()) -> Outcome:
    """An audit with looks at the given samples, in their order."""
    plan, share = design(len(stands)), standing_of(gate, earlier, RADII).share
    looks = []
    for size, part in zip(plan.sizes, plan.shares, strict=True):
        looks.append(SimpleNamespace(share=part, gates=(SimpleNamespace(metric=gate.metric, n=size),)))
        errors = {"false_pass": 1 - gate.confidence, "false_fail": 1 - gate.confidence}
        found = decide_look(int(stands[:size].sum()), size, part * share, least=gate.min, **errors)
        if found != "open":
            break
    stopped = "exhausted" if found == "open" else "decided"
    return _decided(stands[:size], gate, earlier, SimpleNamespace(share=part, looks=looks, stopped=stopped))


def _decided(stands: Stands, gate: GateSpec, earlier: tuple[EarlierTests, ...], sequential: Any) -> Outcome:
    result: Any = SimpleNamespace(
        sequential=sequential,
        comparison=None,
        checks=(),
        earlier=earlier,
        target=SimpleNamespace(assumed=()),
        data=SimpleNamespace(drawn=len(stands)),
        threat_model=SimpleNamespace(norm="linf", eps=RADII["linf"], also=()),
    )
    return decide(gate, of_rate(rate(int(stands.sum()), len(stands))), result, [])


def counted(earlier: tuple[EarlierTests, ...], gate: GateSpec, found: Outcome) -> tuple[EarlierTests, ...]:
    """The earlier tests with one more, as run directories tell of them."""
    assert found.further is not None
    tests, error = (earlier[0].tests, earlier[0].error) if earlier else (0, 0.0)
    figure, allowed = figure_tested(gate.metric, RADII, None), 1 - gate.confidence
    return (EarlierTests(figure=figure, tests=tests + 1, error=error + found.further.spent, allowed=allowed),)


def goes_on(found: Outcome) -> bool:
    """Whether a further test is advised."""
    return found.status == "inconclusive" and found.further is not None and found.further.samples is not None


def follow(test: Callable[..., Outcome], again: Callable[..., Outcome], *, fresh: bool = False) -> Way:
    """A first test, then further ones of as many samples as was said, held to what is left of the error.

    Args:
        test: the first.
        again: the others.
        fresh: draw with another seed each time; else the samples of a smaller draw are the first of a larger one.
    """

    def way(rng: np.random.Generator, bound: float, size: int) -> str:
        data, gate = rng.random(size) < bound, gate_of(bound)
        earlier: tuple[EarlierTests, ...] = ()
        found, seen = test(data[:FIRST], gate), FIRST
        for _ in range(MOST_TESTS):
            if not goes_on(found) or (seen == size and not fresh):
                break
            earlier = counted(earlier, gate, found)
            assert found.further is not None
            assert found.further.samples is not None
            seen = min(found.further.samples, size)
            found = again(rng.permutation(data)[:seen] if fresh else data[:seen], gate, earlier)
            if fresh and seen == size:
                break
        return found.status

    return way


def other_data(rng: np.random.Generator, bound: float, size: int) -> str:
    """Further tests on samples that no test has seen, with the confidence written at the gate."""
    gate = gate_of(bound)
    found = fixed(rng.random(FIRST) < bound, gate)
    for _ in range(MOST_TESTS):
        if not goes_on(found):
            break
        assert found.further is not None
        assert found.further.confidence is not None
        gate = gate_of(bound, found.further.confidence)
        found = until_decided(rng.random(min(found.further.samples or 1, size)) < bound, gate)
    return found.status


def move_the_bound(rng: np.random.Generator, bound: float, size: int) -> str:
    """The highest bound that the interval clears, set afterwards on the same result: false if above the truth."""
    del size
    return "pass" if lower_bound(int((rng.random(FIRST) < bound).sum()), FIRST) >= bound else "inconclusive"


def as_it_was(rng: np.random.Generator, bound: float, size: int) -> str:
    """More samples at the whole error each time, which is not advised any more."""
    data, gate, seen = rng.random(size) < bound, gate_of(bound), FIRST
    for _ in range(MOST_TESTS):
        found = fixed(data[:seen], gate)
        needed = sample_size_to_decide(int(data[:seen].sum()), seen, bound)
        if found.status != "inconclusive" or needed is None or seen == size:
            break
        seen = min(max(needed, seen + 1), size)
    return found.status


WAYS: dict[str, Way] = {
    "a fixed number, then `--until-decided`": follow(fixed, until_decided),
    "a fixed number, then a larger one": follow(fixed, fixed),
    "a fixed number, then other seeds": follow(fixed, until_decided, fresh=True),
    "a fixed number, then other data at the confidence that is named": other_data,
    "`--until-decided`, then more samples": follow(until_decided, until_decided),
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
    rng, gate = np.random.default_rng(1), gate_of(bound)
    statuses = [fixed(np.arange(samples) < k, gate).status for k in range(samples + 1)]
    at = rng.binomial(samples, bound, size=(runs, classes))
    fails = np.mean([any(statuses[k] == "fail" for k in row) for row in at])
    return float(fails), float(np.mean([statuses[k] == "pass" for k in at[:, 0]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    print(f"False passes, {runs} runs each (standard error at 5 %: {100 * (0.05 * 0.95 / runs) ** 0.5:.1f} %)\n")
    print("| way | " + " | ".join(f"gate {g:g}, {n:,}" for g in GATES for n in SIZES) + " |")
    print("|-|" + "-|" * (len(GATES) * len(SIZES)))
    for name, way in WAYS.items():
        rates = [false_passes(way, bound, size, runs) for bound in GATES for size in SIZES]
        print(f"| {name} | " + " | ".join(f"{100 * found:.1f}" for found in rates) + " |", flush=True)
    fails, passes = class_gates(10 * runs)
    print(f"\nTen class gates (n = 20, bound 0.7): one fails falsely in {fails:.0%}; all pass falsely in {passes:.1%}.")


if __name__ == "__main__":
    main()
