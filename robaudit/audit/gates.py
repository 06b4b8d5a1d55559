"""Deciding gates, with exact one-sided intervals.

Attacked accuracy is an upper bound on robustness. So a minimum that the *observed* figure misses has failed
for good, even in an audit that is incomplete, while a minimum that it reaches counts only in a complete and
valid one. Where the evidence itself is in doubt, neither does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.audit.gatespecs import GateSpec
from robaudit.audit.metrics import OF_NORM
from robaudit.audit.result import INCOMPLETE_STATUSES, Attack, Check, Gate, GateStatus, Rate, Result
from robaudit.errors import UsageError
from robaudit.sequential import at_share
from robaudit.stats import lower_bound, sample_size_to_decide, upper_bound
from robaudit.suggest import did_you_mean

__all__ = ["check_gates", "coverage", "evaluate_gates", "is_procedural"]


EVIDENCE_CHECKS = ("clean", "determinism", "evidence")
"""Checks without which a broken sample proves nothing."""


def is_procedural(metric: str) -> bool:
    """Whether a gate is about the audit itself and not about the model."""
    return metric in ("coverage", "validity") or metric.startswith("checks.")


def check_gates(
    gates: Sequence[GateSpec], attacks: Sequence[str], checks: Sequence[str], norms: Sequence[str] = ()
) -> None:
    """Refuse gates over attacks, checks or norms that the profile does not have; call it before the audit.

    Raises:
        UsageError: the gate, with a suggestion.
    """
    known = {"attacks": list(attacks), "checks": list(checks)}
    for gate in gates:
        head, _, rest = gate.metric.partition(".")
        name = rest.partition(".")[0]
        if head in OF_NORM and rest and norms and rest not in norms:
            raise UsageError(f"the gate on {gate.metric!r}: the profile attacks in {', '.join(norms)} alone")
        if head in known and name not in known[head]:
            hint = did_you_mean(name, known[head])
            raise UsageError(f"the gate on {gate.metric!r}: the profile has no {head[:-1]} {name!r}{hint}")


def coverage(attacks: Sequence[Attack]) -> tuple[int, int]:
    """Attacks that ran to their end, of those that apply to this target and threat model."""
    apply = [attack for attack in attacks if attack.status != "skipped"]
    return sum(attack.status == "done" for attack in apply), len(apply)


@dataclass(frozen=True)
class _Outcome:
    status: GateStatus
    message: str
    observed: Rate | None = None
    value: float | None = None
    samples_needed: int | None = None


def evaluate_gates(gates: Sequence[GateSpec], result: Result, unfit: Sequence[str]) -> tuple[Gate, ...]:
    """Every gate with its outcome.

    Args:
        gates: the gates.
        result: what was measured; its own gates and verdict are not looked at.
        unfit: why no figure of the model may be trusted or is final; empty for a complete, valid audit.
    """
    return tuple(_gate(gate, _outcome(gate, result, unfit)) for gate in gates)


def _gate(spec: GateSpec, outcome: _Outcome) -> Gate:
    return Gate(
        metric=spec.metric,
        min=spec.min,
        max=spec.max,
        level=spec.level,
        confidence=spec.confidence,
        status=outcome.status,
        observed=outcome.observed,
        value=outcome.value,
        samples_needed=outcome.samples_needed,
        message=outcome.message,
    )


def _outcome(gate: GateSpec, result: Result, unfit: Sequence[str]) -> _Outcome:
    if gate.metric == "validity":
        return _all_checks(result.checks)
    if gate.metric == "coverage":
        return _coverage(gate, result.attacks)
    if gate.metric.startswith("checks."):
        return _one_check(gate.metric.partition(".")[2], result.checks)
    if gate.metric == "clean_accuracy":
        if result.clean.accuracy is None:
            return _Outcome("invalid", "clean accuracy was not measured: the data has no labels")
        return _model_rate(gate, result.clean.accuracy, (), result)
    if gate.metric.startswith("attacks."):
        return _attack(gate, result, unfit)
    metric, _, norm = gate.metric.partition(".")
    if metric != result.worst_case.metric:
        known = "robust accuracy" if result.worst_case.metric == "robust_accuracy" else "stability"
        hint = "; give labelled data" if known == "stability" else ""
        return _Outcome("invalid", f"this audit measured {known}, not {gate.metric}{hint}")
    observed = {outcome.norm: outcome.upper_bound_observed for outcome in result.threats}
    observed.setdefault(result.threat_model.norm, result.worst_case.upper_bound_observed)
    if norm and norm not in observed:
        return _Outcome("invalid", f"this audit did not attack in {norm}")
    rate = observed[norm] if norm else result.worst_case.upper_bound_observed
    return _model_rate(gate, rate, unfit, result)


def _attack(gate: GateSpec, result: Result, unfit: Sequence[str]) -> _Outcome:
    _, name, field = gate.metric.split(".", 2)
    found = [attack for attack in result.attacks if attack.id == name]
    if not found:
        return _Outcome("invalid", f"the audit has no attack {name}")
    attack = found[0]
    if attack.status != "done":
        reason = f": {attack.reason}" if attack.reason else ""
        return _Outcome("invalid", f"{name} did not run to its end ({attack.status}{reason})")
    if field == "median_distance":
        if attack.median_distance is None:
            return _Outcome("invalid", f"{name} broke no sample, so there is no median distance")
        if unfit or result.target.assumed:
            return _Outcome("invalid", (*unfit, *result.target.assumed)[0], value=attack.median_distance)
        return _plain(gate, attack.median_distance, gate.metric)
    rate = attack.rate_alone if field == "rate_alone" else attack.cumulative_robust_accuracy
    if rate is None:
        return _Outcome("invalid", f"{name} did not see every sample, so it has no {field}")
    return _model_rate(gate, rate, unfit, result)


def _all_checks(checks: Sequence[Check]) -> _Outcome:
    failed = [check.id for check in checks if check.status == "fail"]
    if failed:
        return _Outcome("fail", f"failed: {', '.join(failed)}")
    if not any(check.status in ("pass", "warn") for check in checks):
        return _Outcome("invalid", "no check ran")
    return _Outcome("pass", "no check failed")


def _one_check(name: str, checks: Sequence[Check]) -> _Outcome:
    found = [check for check in checks if check.id == name]
    if not found or found[0].status == "skipped":
        return _Outcome("invalid", f"the check {name} did not run" + (f": {found[0].message}" if found else ""))
    return _Outcome("fail" if found[0].status == "fail" else "pass", found[0].message)


def _coverage(gate: GateSpec, attacks: Sequence[Attack]) -> _Outcome:
    done, total = coverage(attacks)
    if not total:
        return _Outcome("invalid", "no attack of the profile applies")
    missing = [f"{attack.id} {attack.status}" for attack in attacks if attack.status in INCOMPLETE_STATUSES]
    what = f"{done} of {total} attacks done" + (f" ({', '.join(missing)})" if missing else "")
    return _plain(gate, done / total, what)


def _plain(gate: GateSpec, value: float, what: str) -> _Outcome:
    """A value without an interval."""
    if gate.min is not None and value < gate.min:
        return _Outcome("fail", f"{what}: {value:.3g} is below {gate.min:g}", value=value)
    if gate.max is not None and value > gate.max:
        return _Outcome("fail", f"{what}: {value:.3g} is above {gate.max:g}", value=value)
    return _Outcome("pass", what if gate.metric == "coverage" else f"{what} is {value:.3g}", value=value)


def _model_rate(gate: GateSpec, rate: Rate, unfit: Sequence[str], result: Result) -> _Outcome:
    """A rate of the model: its bounds decide, and it passes in a complete and valid audit alone."""
    # of a sequential audit the last look spends a share of the error alone
    confidence = at_share(gate.confidence, result.sequential.share if result.sequential else 1.0)
    low = lower_bound(rate.k, rate.n, confidence)
    high = upper_bound(rate.k, rate.n, confidence)
    sure = f"{gate.confidence:.0%} sure"
    doubts = [c.message for c in result.checks if c.id in EVIDENCE_CHECKS and c.status == "fail"]
    if doubts:
        return _Outcome("invalid", f"cannot be judged: {doubts[0]}", rate)
    if gate.min is not None and high < gate.min:
        return _Outcome("fail", f"{rate.k} of {rate.n}: at most {high:.1%}, {sure}; below {gate.min:.1%}", rate)
    if unfit:
        return _Outcome("invalid", f"cannot pass: {unfit[0]}", rate)
    if result.target.assumed:
        return _Outcome("invalid", f"cannot pass on an assumed input: {result.target.assumed[0]}", rate)
    if gate.max is not None and low > gate.max:
        return _Outcome("fail", f"{rate.k} of {rate.n}: at least {low:.1%}, {sure}; above {gate.max:.1%}", rate)
    open_bounds = [gate.min] if gate.min is not None and low < gate.min else []
    if gate.max is not None and high > gate.max:
        open_bounds.append(gate.max)
    if not open_bounds:
        bound = f"at least {low:.1%}" if gate.min is not None else f"at most {high:.1%}"
        return _Outcome("pass", f"{rate.k} of {rate.n}: {bound}, {sure}", rate)
    sizes = [sample_size_to_decide(rate.k, rate.n, bound, confidence) for bound in open_bounds]
    needed = None if None in sizes else max(size for size in sizes if size is not None)
    hint = f"{needed} samples would decide if the estimate stayed" if needed else "no sample size would decide"
    message = f"{rate.k} of {rate.n}: between {low:.1%} and {high:.1%}; {hint}"
    return _Outcome("inconclusive", message, rate, samples_needed=needed)
