"""Deciding a gate on a figure of the model: exact one-sided bounds, and what earlier tests left of the error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.metrics import OF_COMPARISON, parse_metric
from robaudit.audit.result.document import GateStatus, Rate, Result
from robaudit.audit.verdict.check_facts import facts_of
from robaudit.audit.verdict.readings import Reading
from robaudit.audit.verdict.retests import LEAST, Further, Standing, baseline_of, further_test, radii_of, standing_of
from robaudit.stats.looks import at_share

__all__ = ["Outcome", "compares", "decide", "doubts", "sure"]


def compares(metric: str) -> bool:
    """Whether a gate is about the comparison with a baseline."""
    return parse_metric(metric).name in OF_COMPARISON


def doubts(result: Result) -> list[str]:
    """What checks say, without which a broken sample proves nothing."""
    return [check.message for check in result.checks if check.status == "fail" and facts_of(check).doubts_evidence]


@dataclass(frozen=True)
class Outcome:
    """How a gate fell, as fields of :class:`robaudit.audit.result.document.Gate`."""

    status: GateStatus
    message: str
    observed: Rate | None = None
    value: float | None = None
    samples_needed: int | None = None
    earlier: int = 0
    further: Further | None = None


def decide(gate: GateSpec, reading: Reading, result: Result, unfit: Sequence[str]) -> Outcome:
    """A figure of the model: its bounds decide, and it passes in a complete and valid audit alone."""
    # of a sequential audit, and of a comparison with one, the last look spends a share of the error alone
    share = result.sequential.share if result.sequential else 1.0
    if result.comparison is not None and compares(gate.metric):
        share = result.comparison.share
    standing = standing_of(gate, result.earlier if reading.sampled else (), radii_of(result), baseline_of(result))
    figure, found = reading.figure, (reading.rate, reading.value)
    exact = reading.spends is not None
    share *= standing.share if exact else 1.0
    if exact and standing.error * share < LEAST:
        low, high = -math.inf, math.inf
    else:
        confidence = at_share(gate.confidence, share)
        low, high = reading.low(confidence), reading.high(confidence)
    if doubted := doubts(result):
        return Outcome("invalid", f"cannot be judged: {doubted[0]}", *found)
    failed = {}
    if gate.min is not None and high < gate.min:
        failed["min"] = _words(reading, f"at most {figure(high)}", gate) + f"; below {figure(gate.min)}"
    if gate.max is not None and low > gate.max:
        failed["max"] = _words(reading, f"at least {figure(low)}", gate) + f"; above {figure(gate.max)}"
    spent = further_test(gate, reading, result, standing) if failed else None
    told = partial(Outcome, "fail", observed=reading.rate, value=reading.value, earlier=standing.tests, further=spent)
    failed = {side: words + _beside(standing, exact=exact) for side, words in failed.items()}
    if reading.final in failed:
        return told(failed[reading.final])
    if unfit and not reading.unattacked:
        return Outcome("invalid", f"cannot pass: {unfit[0]}", *found)
    if reading.unattacked and failed:
        return told(next(iter(failed.values())))
    if result.target.assumed:
        return Outcome("invalid", f"cannot pass on an assumed input: {result.target.assumed[0]}", *found)
    if failed:
        return told(next(iter(failed.values())))
    open_bounds = [gate.min] if gate.min is not None and low < gate.min else []
    if gate.max is not None and high > gate.max:
        open_bounds.append(gate.max)
    said = partial(Outcome, observed=reading.rate, value=reading.value, earlier=standing.tests)
    if not open_bounds:
        bound = f"at least {figure(low)}" if gate.min is not None else f"at most {figure(high)}"
        message = _words(reading, bound, gate) + _beside(standing, exact=exact)
        return said("pass", message, further=further_test(gate, reading, result, standing))
    if not math.isfinite(low):
        message = f"{reading.said}: the error of this gate was spent by {_tests(standing)} of the same model and data"
        return said("inconclusive", message)
    sizes = [reading.needed(bound, confidence) for bound in open_bounds]
    needed = None if None in sizes else max(size for size in sizes if size is not None)
    further = further_test(gate, reading, result, standing, open_bounds)
    if 0 < reading.n < result.data.drawn:  # of a class, say, a draw brings its share alone
        needed = None if needed is None else -(-needed * result.data.drawn // reading.n)
        if further is not None and further.samples is not None:
            further = replace(further, samples=-(-further.samples * result.data.drawn // reading.n))
    hint = f"{needed} samples would have decided it at this estimate" if needed else "no sample size would decide"
    message = f"{reading.said}: between {figure(low)} and {figure(high)}; {hint}{_beside(standing, exact=exact)}"
    return said("inconclusive", message, samples_needed=needed, further=further)


def _tests(standing: Standing) -> str:
    return "an earlier test" if standing.tests == 1 else f"{standing.tests} earlier tests"


def _beside(standing: Standing, *, exact: bool) -> str:
    """A word on earlier tests of the same model on the same data, after a gate's message."""
    if not standing.tests:
        return ""
    of = f"{_tests(standing)} of the same model and data"
    if exact:
        return f"; {of} counted in, so that this one is held to {sure(1 - standing.error)}"
    return f"; with {of}: each may err, and the chances of a false decision add up"


def _words(reading: Reading, bound: str, gate: GateSpec) -> str:
    """A reading with a bound of it."""
    if not reading.sampled:
        return f"{reading.said}: {reading.figure(reading.low(gate.confidence))}"
    return f"{reading.said}: {bound}, {sure(gate.confidence)} sure"


def sure(confidence: float) -> str:
    """A confidence in words, with as many digits as it needs: 95%, 99.7%, 99.9994%."""
    digits = max(0, math.ceil(-math.log10(100 * (1 - confidence)) + 0.5)) if confidence < 1 else 0
    text = f"{100 * confidence:.{digits + 1}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"
