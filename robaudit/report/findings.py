"""What a result has against the model or against the audit: findings under rules, for SARIF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from robaudit.audit.result.document import (
    INCOMPLETE_STATUSES,
    Attack,
    Check,
    Comparison,
    Gate,
    PairedChange,
    Rate,
    Result,
)
from robaudit.audit.result.sections.run import Place
from robaudit.audit.verdict.decisions import doubts
from robaudit.audit.verdict.phrases import threat_phrase
from robaudit.plural import part_of
from robaudit.report.paths import model_place
from robaudit.report.rules import RULES, Level, Rule, check_rule
from robaudit.report.sentences import gate_words, withheld_words, worst_case_name
from robaudit.report.taxonomy import taxa_of_access
from robaudit.report.words import ball, rate_words

__all__ = ["LISTED_SAMPLES", "Finding", "findings"]

Kind: TypeAlias = Literal["fail", "open", "pass"]
State: TypeAlias = Literal["new", "unchanged", "updated"]

LISTED_SAMPLES = 100
"""Newly broken samples that get a finding each; a comparison may list thousands."""
GATE_RULES = {"fail": "RA001", "pass": "RA001", "inconclusive": "RA002", "invalid": "RA003"}


@dataclass(frozen=True)
class Finding:
    """Something found, under a rule."""

    rule: Rule
    subject: str
    """What it is about, the same in every run: ``gate coverage``, ``attack square in linf``."""
    message: str
    place: Place
    """The line that asked for it, or the model."""
    kind: Kind = "fail"
    """fail; open where there are too few samples to decide; pass."""
    level: Level = "error"
    """How severe, where it fails."""
    taxa: tuple[str, ...] = ()
    """Entries of catalogues, beyond those of the rule, that it is evidence toward."""
    baseline: State | None = None
    """Against the baseline, where that is known."""
    suppressed: str | None = None
    """Why it does not count, or None."""
    properties: dict[str, Any] = field(default_factory=dict)


def findings(result: Result, *, passes: bool = False) -> list[Finding]:
    """All findings, gates first; what passed only if asked for."""
    found = [
        *_audit(result),
        *(finding for gate in result.gates for finding in _gate(result, gate)),
        *_fooled(result),
        *(_attack(result, attack) for attack in result.attacks if _counts(result, attack)),
        *_comparison(result),
        *(_missing(result, attack) for attack in result.attacks if attack.status in INCOMPLETE_STATUSES),
        *(finding for check in result.checks for finding in _check(result, check)),
    ]
    return [finding for finding in found if passes or finding.kind != "pass"]


def _place(result: Result, key: str) -> Place:
    return result.profile.places.get(key) or model_place(result)


def _rate(rate: Rate | None) -> dict[str, Any]:
    if rate is None:
        return {}
    return {
        "k": rate.k,
        "n": rate.n,
        "estimate": rate.estimate,
        "low": rate.low,
        "high": rate.high,
        "confidence": rate.confidence,
    }


def _audit(result: Result) -> Iterator[Finding]:
    """What the audit as a whole lacks."""
    place, run = model_place(result), result.run
    if not run.complete:
        missing = [attack.id for attack in result.attacks if attack.status in INCOMPLETE_STATUSES]
        why = ["it was interrupted"] if run.interrupted else []
        why += [f"the worker failed: {run.failed}"] if run.failed is not None else []
        why += [f"attacks that did not run to their end: {', '.join(missing)}"] if missing else []
        yield Finding(
            RULES["RA020"],
            "audit",
            f"The audit is incomplete: {'; '.join(why) or 'no attack ran'}.",
            place,
            level="error",
        )
    if result.worst_case.upper_bound_observed.n == 0:
        yield Finding(RULES["RA022"], "audit", "No sample could be audited.", place, level="error")
    if result.certified is not None:
        both = set(result.certified.contradicted)
        for sample in [sample for sample in result.samples if sample.index in both][:LISTED_SAMPLES]:
            text = f"The sample {sample.id} (index {sample.index}) was proved, and broken by {sample.broken_by}."
            yield Finding(RULES["RA023"], f"sample {sample.id} proved and broken", text, place, level="error")
    for number, assumption in enumerate(result.target.assumed, 1):
        yield Finding(RULES["RA030"], f"assumption {number}", f"Assumed: {assumption}.", place, level="warning")
    if result.data.reference == "model":
        text = "The data has no labels: the model's own answers are the reference, and no accuracy is claimed."
        yield Finding(RULES["RA031"], "data", text, place, level="note")


def _gate(result: Result, gate: Gate) -> Iterator[Finding]:
    rule, ignore = RULES[GATE_RULES[gate.status]], gate.ignore
    kind: Kind = {"inconclusive": "open", "pass": "pass"}.get(gate.status, "fail")  # type: ignore[assignment]
    values = {"metric": gate.metric, "min": gate.min, "max": gate.max, "confidence": gate.confidence}
    values |= {"value": gate.value, "samplesNeeded": gate.samples_needed} | _rate(gate.observed)
    yield Finding(
        rule,
        f"gate {gate.metric}",
        f"The gate {gate_words(gate)} {_STATUS[gate.status]}: {gate.message}.",
        _place(result, f"gates.{gate.metric}"),
        kind,
        "warning" if gate.level == "warn" else "error",
        suppressed=f"until {ignore.until}: {ignore.reason}" if ignore is not None and ignore.active else None,
        properties={name: value for name, value in values.items() if value is not None},
    )


_STATUS = {
    "fail": "failed",
    "pass": "passed",
    "inconclusive": "is inconclusive",
    "invalid": "could not be judged",
}


def _fooled(result: Result) -> Iterator[Finding]:
    """The headline, where it may be quoted and anything was broken."""
    worst = result.worst_case
    rate = worst.robust_accuracy or worst.stability
    if withheld_words(result) is not None or rate is None or not any(a.newly_broken for a in result.attacks):
        return
    yield Finding(
        RULES["RA010"],
        f"worst case {threat_phrase(result.threat_model)}",
        f"{worst_case_name(result)} is at most {rate_words(rate)} under {threat_phrase(result.threat_model)}.",
        model_place(result),
        level="note",
        baseline=_state(result.comparison),
        properties=_rate(rate),
    )


def _state(comparison: Comparison | None) -> State | None:
    """Whether the baseline was fooled too, and as often."""
    if comparison is None:
        return None
    change = comparison.worst_case
    right = comparison.clean.base.k if comparison.clean is not None else change.pairs
    if change.base.k >= right:
        return "new"
    return "unchanged" if comparison.same_model and not (change.lost or change.gained) else "updated"


def _counts(result: Result, attack: Attack) -> bool:
    """Whether an attack has verified examples, and nothing puts them in doubt."""
    return attack.broken > 0 and not doubts(result)


def _attack(result: Result, attack: Attack) -> Finding:
    threat = result.threat_model
    balls = {threat.norm: ball(threat)} | {other.norm: ball(other) for other in threat.also}
    within = balls.get(attack.norm, f"{attack.norm} ≤ {attack.eps:g}")
    return Finding(
        RULES["RA011"],
        f"attack {attack.id} in {attack.norm}",
        f"{attack.id} ({attack.access}) fooled {part_of(attack.broken, attack.attempted, 'sample')} within {within}, "
        f"confirmed on the file; {attack.newly_broken} of them stood against every attack before it.",
        _place(result, f"attacks.{attack.id}"),
        level="note",
        taxa=taxa_of_access(attack.access),
        properties={
            "attack": attack.id,
            "access": attack.access,
            "norm": attack.norm,
            "eps": attack.eps,
            "goal": attack.goal,
            "attempted": attack.attempted,
            "broken": attack.broken,
            "newlyBroken": attack.newly_broken,
            "queries": attack.queries,
        },
    )


def _missing(result: Result, attack: Attack) -> Finding:
    why = attack.reason or ""
    return Finding(
        RULES["RA021"],
        f"attack {attack.id} in {attack.norm}",
        f"{attack.id} ({attack.access}) did not run to its end: {attack.status}{': ' + why if why else ''}.",
        _place(result, f"attacks.{attack.id}"),
        level="warning",
        properties={"attack": attack.id, "access": attack.access, "status": attack.status},
    )


def _check(result: Result, check: Check) -> Iterator[Finding]:
    if check.status == "skipped":
        return
    values = {"value": check.value, "threshold": check.threshold}
    yield Finding(
        check_rule(check),
        f"check {check.id}",
        f"The check {check.id} says: {check.message}.",
        _place(result, f"checks.{check.id}"),
        "pass" if check.status == "pass" else "fail",
        "error" if check.status == "fail" else "warning",
        properties={name: value for name, value in values.items() if value is not None},
    )


def _change(change: PairedChange) -> dict[str, Any]:
    return {
        "pairs": change.pairs,
        "lost": change.lost,
        "gained": change.gained,
        "difference": change.difference,
        "low": change.low,
        "high": change.high,
        "pValue": change.p_value,
    }


def _comparison(result: Result) -> Iterator[Finding]:
    comparison, place = result.comparison, model_place(result)
    if comparison is None:
        return
    if comparison.worst_case.outcome == "worse":
        yield Finding(
            RULES["RA012"],
            "baseline",
            comparison.message,
            place,
            level="warning",
            baseline="new",
            properties=_change(comparison.worst_case),
        )
    more = len(comparison.newly_broken) - LISTED_SAMPLES
    for number, sample in enumerate(comparison.newly_broken[:LISTED_SAMPLES], 1):
        how = f"broken by {sample.new_broken_by}" if sample.new_broken_by else "misclassified without an attack"
        text = f"The sample {sample.id} (index {sample.index}) stood in the baseline and is {how} now."
        text += f" {more} more are in the JSON report." if more > 0 and number == LISTED_SAMPLES else ""
        yield Finding(RULES["RA013"], f"sample {sample.id}", text, place, level="note", baseline="new")
