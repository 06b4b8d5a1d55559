"""Deciding gates, with exact one-sided intervals.

Attacked accuracy is an upper bound on robustness. So a minimum that the *observed* figure misses has failed
for good, even in an audit that is incomplete, while a minimum that it reaches counts only in a complete and
valid one. Where the evidence itself is in doubt, neither does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError

from robaudit.audit.config.gatespecs import GateSpec, check_contradictions
from robaudit.audit.config.metrics import OF_COMPARISON, Metric, parse_metric
from robaudit.audit.config.specs import parse_eps
from robaudit.audit.config.yaml_file import refuse
from robaudit.audit.result.document import INCOMPLETE_STATUSES, Attack, Check, Exemption, Gate, Result
from robaudit.audit.result.sections.run import Place
from robaudit.audit.verdict.decisions import Outcome, compares, decide
from robaudit.audit.verdict.read import read
from robaudit.audit.verdict.read_curve import Unreadable
from robaudit.data.class_names import find_class
from robaudit.errors import UsageError
from robaudit.plural import part_of
from robaudit.suggest import did_you_mean

__all__ = [
    "Available",
    "check_class_gates",
    "check_gates",
    "compares",
    "counts",
    "coverage",
    "day_of",
    "evaluate_gates",
    "is_procedural",
    "specs_of",
]


def is_procedural(metric: str) -> bool:
    """Whether a gate is about the audit itself and not about the model."""
    parsed = parse_metric(metric)
    return parsed.name in ("coverage", "validity") or parsed.head == "check"


def counts(gate: Gate) -> bool:
    """Whether no exception to a gate holds."""
    return gate.ignore is None or not gate.ignore.active


@dataclass(frozen=True)
class Available:
    """What an audit has that a gate can be about.

    Args:
        attacks: of the profile, as gates name them; ``checks`` and ``norms`` likewise.
        radii: of the threat models by norm, the main one first, at which no curve is needed.
        curve: whether the curve is searched.
        baseline: whether there is one.
        certified: whether certificates are asked for.
    """

    attacks: Collection[str]
    checks: Collection[str]
    norms: Collection[str] = ()
    radii: Mapping[str, float] | None = None
    curve: bool = True
    baseline: bool = True
    certified: bool = True


def check_gates(gates: Sequence[GateSpec], audit: Available, *, places: Mapping[str, Place] | None = None) -> None:
    """Refuse gates that contradict each other, or are about what the audit does not have.

    Call it before the audit.

    Args:
        gates: the gates.
        audit: what it has.
        places: lines that asked for gates, by ``gates.METRIC``.

    Raises:
        UsageError: the gate, with a suggestion, and the file and line that ask for it where they are known.
    """
    check_contradictions(gates, audit.radii)
    for gate in gates:
        if (why := _refusal(parse_metric(gate.metric), audit)) is not None:
            place = (places or {}).get(f"gates.{gate.metric}")
            at = "" if place is None else f"line {place.line} of {place.file}: "
            raise UsageError(f"{at}the gate on {gate.metric!r}{why}")


def _refusal(metric: Metric, audit: Available) -> str | None:
    """Why a gate on a metric is refused, or None."""
    known = {"attack": audit.attacks, "check": audit.checks}
    if metric.norm is not None and audit.norms and metric.norm not in audit.norms:
        return f": the profile attacks in {', '.join(audit.norms)} alone"
    options, subject = known.get(metric.head), metric.subject or ""
    if options is not None and subject not in options:
        return f": the profile has no {metric.head} {subject!r}{did_you_mean(subject, options)}"
    of_curve = metric.name in ("median_distance", "curve_area") and metric.subject is None
    if not audit.curve and (of_curve or _elsewhere(metric, audit.radii)):
        return " needs the robustness curve: give --curve"
    if not audit.certified and metric.name == "certified_accuracy":
        return " needs certificates: give --certify interval"
    if not audit.baseline and metric.name in OF_COMPARISON:
        return " needs an earlier result: give --baseline RESULT.json"
    return None


def _elsewhere(metric: Metric, radii: Mapping[str, float] | None) -> bool:
    """Whether a gate is about another radius than the threat model's own."""
    if metric.eps is None or not radii:
        return False
    norm = metric.norm or next(iter(radii))
    return not math.isclose(radii[norm], parse_eps(metric.eps, norm), rel_tol=1e-12)


def check_class_gates(gates: Sequence[GateSpec], names: Sequence[str] | None, count: int) -> None:
    """Refuse gates over classes that the model does not have; call it as soon as they are known.

    Args:
        gates: the gates.
        names: of the classes, or None.
        count: of the classes.

    Raises:
        UsageError: the gate, with a suggestion.
    """
    for gate in gates:
        metric = parse_metric(gate.metric)
        if metric.head == "class" and find_class(metric.subject or "", names, count) is None:
            hint = did_you_mean(metric.subject or "", names) if names else f"; they are numbered from 0 to {count - 1}"
            raise UsageError(f"the gate on {gate.metric!r}: the model has no class {metric.subject!r}{hint}")
    check_contradictions([_by_place(gate, names, count) for gate in gates])


def _by_place(gate: GateSpec, names: Sequence[str] | None, count: int) -> GateSpec:
    """A gate on a class with the class by its place, whichever way it was named."""
    metric = parse_metric(gate.metric)
    if metric.head != "class":
        return gate
    place = find_class(metric.subject or "", names, count)
    return gate.model_copy(update={"metric": f"class.{place}.{metric.name}"})


def coverage(attacks: Sequence[Attack]) -> tuple[int, int]:
    """Attacks that ran to their end, of those that apply to this target and threat model."""
    apply = [attack for attack in attacks if attack.status != "skipped"]
    return sum(attack.status == "done" for attack in apply), len(apply)


def evaluate_gates(
    gates: Sequence[GateSpec], result: Result, unfit: Sequence[str], judged: date | None = None
) -> tuple[Gate, ...]:
    """Every gate with its outcome.

    Args:
        gates: the gates.
        result: what was measured; its own gates and verdict are not looked at.
        unfit: why no figure of the model may be trusted or is final; empty for a complete, valid audit.
        judged: day on which exceptions are judged; default the one on which the audit ended.
    """
    day = judged or day_of(result)
    return tuple(_gate(gate, _outcome(gate, result, unfit), day) for gate in gates)


def specs_of(result: Result) -> tuple[GateSpec, ...]:
    """The gates that a result was decided on.

    Raises:
        UsageError: one is no gate.
    """
    found = []
    for gate in result.gates:
        content: dict[str, Any] = {
            name: getattr(gate, name) for name in ("metric", "min", "max", "level", "confidence")
        }
        if gate.ignore is not None:
            content["ignore"] = {"reason": gate.ignore.reason, "until": gate.ignore.until}
        try:
            found.append(GateSpec.model_validate(content))
        except ValidationError as error:
            raise refuse(error, f"the result's gate on {gate.metric}", GateSpec) from error
    return tuple(found)


def day_of(result: Result) -> date:
    """The day on which an audit ended, as it was written."""
    try:
        return date.fromisoformat(result.run.finished[:10])
    except ValueError:
        return date.max  # nothing is known, so that no exception holds


def _gate(spec: GateSpec, outcome: Outcome, judged: date) -> Gate:
    ignore = None
    if spec.ignore is not None:
        active = judged <= spec.ignore.until
        ignore = Exemption(reason=spec.ignore.reason, until=spec.ignore.until.isoformat(), active=active)
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
        earlier=outcome.earlier,
        spent=None if outcome.further is None else outcome.further.spent,
        further_samples=None if outcome.further is None else outcome.further.samples,
        further_confidence=_further_confidence(outcome),
        ignore=ignore,
        message=outcome.message,
    )


def _further_confidence(outcome: Outcome) -> float | None:
    return None if outcome.further is None or outcome.status != "inconclusive" else outcome.further.confidence


def _outcome(gate: GateSpec, result: Result, unfit: Sequence[str]) -> Outcome:
    metric = parse_metric(gate.metric)
    if metric.name == "validity":
        return _all_checks(result.checks)
    if metric.name == "coverage":
        return _coverage(gate, result.attacks)
    if metric.head == "check":
        return _one_check(metric, result.checks)
    try:
        reading = read(metric, result)
    except Unreadable as error:
        return Outcome("invalid", str(error))
    return decide(gate, reading, result, unfit)


def _all_checks(checks: Sequence[Check]) -> Outcome:
    failed = [check.id for check in checks if check.status == "fail"]
    if failed:
        return Outcome("fail", f"failed: {', '.join(failed)}")
    if not any(check.status in ("pass", "warn") for check in checks):
        return Outcome("invalid", "no check ran")
    return Outcome("pass", "no check failed")


def _one_check(metric: Metric, checks: Sequence[Check]) -> Outcome:
    found = [check for check in checks if check.id == metric.subject]
    if not found or found[0].status == "skipped":
        return Outcome(
            "invalid", f"the check {metric.subject} did not run" + (f": {found[0].message}" if found else "")
        )
    return Outcome("fail" if found[0].status == "fail" else "pass", found[0].message)


def _coverage(gate: GateSpec, attacks: Sequence[Attack]) -> Outcome:
    done, total = coverage(attacks)
    if not total:
        return Outcome("invalid", "no attack of the profile applies")
    missing = [f"{attack.id} {attack.status}" for attack in attacks if attack.status in INCOMPLETE_STATUSES]
    what = f"{part_of(done, total, 'attack')} done" + (f" ({', '.join(missing)})" if missing else "")
    value = done / total
    if gate.min is not None and value < gate.min:
        return Outcome("fail", f"{what}: {value:.3g} is below {gate.min:g}", value=value)
    if gate.max is not None and value > gate.max:
        return Outcome("fail", f"{what}: {value:.3g} is above {gate.max:g}", value=value)
    return Outcome("pass", what, value=value)
