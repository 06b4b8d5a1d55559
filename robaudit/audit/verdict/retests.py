"""The error of a gate over all tests of the same model on the same data.

Each test that can pass or fail a gate spends some of the error that the gate allows: the chance that it decides falsely
a model that lies on the bound. By the union bound the tests together keep the gate's confidence if each spends no more
than those before it left. As counts only move in whole samples, a test with an exact bound never spends all that it may
(:func:`robaudit.stats.looks.error_spent`); a sequential one spends it over its looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robaudit.audit.config.gatespecs import GateSpec, figure_of
from robaudit.audit.config.metrics import OF_COMPARISON, parse_metric
from robaudit.audit.result.document import EarlierTests, Result
from robaudit.audit.verdict.readings import Reading
from robaudit.stats.looks import LAST, at_share, design, error_spent

__all__ = ["LEAST", "Further", "Standing", "baseline_of", "figure_tested", "further_test", "radii_of", "standing_of"]

LEAST = 1e-9
"""An error below this is as good as none: no bound is computed for it."""


@dataclass(frozen=True)
class Standing:
    """What earlier tests left of a gate's error.

    Args:
        tests: that were counted.
        share: of the error that is left, 1 where there were none.
        error: that is left.
    """

    tests: int
    share: float
    error: float


@dataclass(frozen=True)
class Further:
    """A further test of a gate that a test left open.

    Args:
        spent: the most that the test that was made can have spent.
        confidence: that the further one must have; None: nothing is left.
        samples: with which it would decide at the same estimate; None: no number would.
    """

    spent: float
    confidence: float | None
    samples: int | None


def radii_of(result: Result) -> dict[str, float]:
    """Radius by norm of a result's threat models, the main one first."""
    threat = result.threat_model
    return {threat.norm: threat.eps, **{other.norm: other.eps for other in threat.also}}


def baseline_of(result: Result) -> str | None:
    """Digest of the model that a result is compared with."""
    return None if result.comparison is None else result.comparison.baseline.sha256


def figure_tested(metric: str, radii: Mapping[str, float], baseline: str | None = None) -> str:
    """What a gate on a metric tests, the same for all ways to name it."""
    found = parse_metric(metric)
    against = f" against {baseline}" if found.name in OF_COMPARISON else ""
    return figure_of(found, radii) + against


def standing_of(
    gate: GateSpec, earlier: Sequence[EarlierTests], radii: Mapping[str, float], baseline: str | None = None
) -> Standing:
    """What earlier tests of its figure left of a gate's error; ``baseline``: digest of the model compared with."""
    figure, error = figure_tested(gate.metric, radii, baseline), 1 - gate.confidence
    found = next((tests for tests in earlier if tests.figure == figure), None)
    if found is None:
        return Standing(0, 1.0, error)
    left = min(error, max(0.0, max(error, found.allowed) - found.error))
    return Standing(found.tests, left / error, left)


def further_test(
    gate: GateSpec, reading: Reading, result: Result, standing: Standing, open_bounds: Sequence[float] = ()
) -> Further | None:
    """What a test spent, and what a further one would take; None where what it spends is not known.

    Args:
        gate: that was tested.
        reading: what was measured.
        result: of the audit.
        standing: what was left to this test.
        open_bounds: bounds that it left open.
    """
    if reading.spends is None:
        return None
    bounds = [bound for bound in (gate.min, gate.max) if bound is not None]
    spent = max(_spent(gate, reading, result, standing.error, bound) for bound in bounds)
    left = standing.error - spent
    if left < LEAST:
        return Further(spent, None, None)
    confidence = 1 - math.floor(left * 1e6) / 1e6 if left > 1e-5 else 1 - left
    sizes = [_size(reading, bound, confidence) for bound in open_bounds]
    samples = None if not sizes or None in sizes else max(size for size in sizes if size is not None)
    return Further(spent, confidence, samples)


def _spent(gate: GateSpec, reading: Reading, result: Result, error: float, bound: float) -> float:
    assert reading.spends is not None
    found = result.sequential
    if found is None:
        return reading.spends(bound, error)
    looks = [(entry.n, look.share) for look in found.looks for entry in look.gates if entry.metric == gate.metric]
    if not looks:  # judged at the end alone: it spends its part at the look that ended the audit, and may at the others
        part = found.share * error
        return min(error, error - part + reading.spends(bound, part))
    ahead = 0.0 if found.stopped == "exhausted" else max(0.0, 1 - sum(share for _, share in looks))
    taken = error_spent([n for n, _ in looks], [share for _, share in looks], bound, error)
    return min(error, taken + ahead * error)


def _size(reading: Reading, bound: float, confidence: float) -> int | None:
    """Samples of a sequential audit whose last look would decide."""
    size = reading.needed(bound, at_share(confidence, LAST))
    if size is not None and len(design(size).sizes) == 1:  # too few for more than one look
        size = reading.needed(bound, confidence)
    return size
