"""The verdict: what the checks, attacks and gates of an audit come to, its exit code, and what to do next.

Precedence of exit codes: 130 interrupted; 3 if a fatal check (clean, evidence), or the worker, failed; 1 if
verified evidence fails a gate, even in an incomplete audit; 3 if a check failed, an attack is missing or a
gate cannot be judged; 4 inconclusive; 0. (2, input refused before the audit, never gets here.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import (
    INCOMPLETE_STATUSES,
    Gate,
    Result,
    Verdict,
    VerdictStatus,
)
from robaudit.audit.result.sections.target import training_words
from robaudit.audit.verdict.advice import next_steps
from robaudit.audit.verdict.check_facts import facts_of
from robaudit.audit.verdict.gates import counts, day_of, evaluate_gates, is_procedural
from robaudit.audit.verdict.phrases import NORM_SIGNS, percent, threat_phrase

__all__ = ["FailOn", "OnInconclusive", "conclude"]

OnInconclusive: TypeAlias = Literal["fail", "warn", "pass"]
FailOn: TypeAlias = Literal["error", "warn", "never"]
"""Gates that decide the exit code: those of level error, all, or none; an invalid audit is 3 in any case."""

SHOWN = 5
"""Samples that a reason names."""


def conclude(
    draft: Result,
    gates: Sequence[GateSpec],
    on_inconclusive: OnInconclusive = "fail",
    fail_on: FailOn = "error",
    judged: date | None = None,
) -> Result:
    """The result with gates, verdict, ``run.complete`` and the worst case's rate filled in.

    A pure function of what the draft measured (``worst_case.upper_bound_observed``, attacks, checks, run,
    comparison), so that gates can be decided again on a stored result.

    Args:
        draft: what was measured.
        gates: to decide.
        on_inconclusive: what a gate that too few samples leave open means for the exit code.
        fail_on: which gates decide the exit code.
        judged: day on which exceptions to gates are judged; default the one on which the audit ended.
    """
    withheld = [f"{check.id}: {check.message}" for check in draft.checks if check.status == "fail"]
    withheld += _contradicted(draft)
    observed = draft.worst_case.upper_bound_observed
    if observed.n == 0:
        withheld.append("no sample could be audited")
    incomplete = _incomplete(draft)
    unfit = [*withheld, *incomplete]
    stability = draft.worst_case.metric == "stability"
    worst = draft.worst_case.model_copy(
        update={
            "robust_accuracy": None if unfit or stability else observed,
            "stability": observed if stability and not unfit else None,
        }
    )
    day = judged or day_of(draft)
    decided = evaluate_gates(gates, draft, unfit, day)
    verdict = _verdict(draft, decided, withheld, incomplete, on_inconclusive, fail_on)
    if any(gate.ignore is not None for gate in decided):
        verdict = verdict.model_copy(update={"judged": day.isoformat()})
    return draft.model_copy(
        update={
            "worst_case": worst,
            "gates": decided,
            "run": draft.run.model_copy(update={"complete": not incomplete}),
            "verdict": verdict,
        }
    )


def _contradicted(draft: Result) -> list[str]:
    """Samples that were proved and broken at once: one of the two is an error of ours, and no figure holds."""
    section = draft.certified
    if section is None or not section.contradicted:
        return []
    both = set(section.contradicted)
    told = []
    for sample in draft.samples:
        if sample.index in both:
            fell = {breach.norm: breach.attack for breach in sample.breaches}
            fell = fell or {draft.threat_model.norm: sample.broken_by or ""}
            proofs = [e for e in section.certificates if sample.proved(e.id) and e.norm in fell]
            told.append(f"{sample.id} (proved by {proofs[0].id}, broken by {fell[proofs[0].norm]})")
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return [f"bracket: proved and broken at once, which is an error of robaudit: {', '.join(told[:SHOWN])}{more}"]


def _incomplete(draft: Result) -> list[str]:
    reasons = ["the audit was interrupted"] if draft.run.interrupted else []
    if draft.run.budget_spent:
        reasons.append(f"the time budget of {draft.run.time_budget:g} s was spent")
    if draft.run.failed is not None:
        reasons.append(f"the worker failed: {draft.run.failed}")
    reasons += [error.message for error in draft.errors if error.where == "model"]
    for attack in draft.attacks:
        if attack.status in INCOMPLETE_STATUSES:
            why = attack.reason or ""
            reasons.append(f"{attack.id} {attack.status}" + (f": {why}" if why else ""))
    ran = {attack.access for attack in draft.attacks if attack.ran}
    for where, access in (("surrogate", "transfer"), ("stand-in", "white-box")):  # what ran had fewer than were given
        told = [error.message for error in draft.errors if error.where == where and access in ran]
        reasons += [message for message in told if not any(message in reason for reason in reasons)]
    if not any(attack.status == "done" for attack in draft.attacks) and not reasons:
        reasons.append("no attack ran")
    for entry in draft.certified.certificates if draft.certified is not None else ():
        if entry.status in ("partial", "failed", "not run"):
            reasons.append(f"the certificate {entry.id} {entry.status}" + (f": {entry.reason}" if entry.reason else ""))
    for outcome in draft.threats:
        if not any(attack.status == "done" for attack in draft.attacks if attack.norm == outcome.norm) and not reasons:
            reasons.append(f"no attack ran in {NORM_SIGNS[outcome.norm]}")
    return reasons


@dataclass(frozen=True)
class _Decided:
    """Gates that decide the exit code, by what they came to.

    Args:
        binding: all of them.
        failed: on the model, with evidence.
        invalid: that cannot be judged, or were not met by the audit itself.
        undecided: that too few samples leave open.
    """

    binding: tuple[Gate, ...]
    failed: tuple[Gate, ...]
    invalid: tuple[Gate, ...]
    undecided: tuple[Gate, ...]


def _decided(gates: Sequence[Gate], fail_on: FailOn) -> _Decided:
    binding = tuple(gate for gate in gates if counts(gate) and (gate.level == "error" or fail_on == "warn"))
    fallen = [gate for gate in binding if gate.status == "fail"]
    return _Decided(
        binding=binding,
        failed=tuple(gate for gate in fallen if not is_procedural(gate.metric)),
        invalid=(
            *(gate for gate in binding if gate.status == "invalid"),
            *(gate for gate in fallen if is_procedural(gate.metric)),
        ),
        undecided=tuple(gate for gate in binding if gate.status == "inconclusive"),
    )


def _verdict(
    draft: Result,
    gates: Sequence[Gate],
    withheld: list[str],
    incomplete: list[str],
    on_inconclusive: OnInconclusive,
    fail_on: FailOn,
) -> Verdict:
    decided = _decided(gates, fail_on)
    unfit = bool(withheld or incomplete)
    status, code = _status(draft, decided, withheld, incomplete, on_inconclusive)
    if fail_on == "never" and code in (1, 4):
        code = 3 if unfit or decided.invalid else 0
    reasons = [*withheld, *incomplete, *_reasons(draft, gates, decided)]
    if code == 0 and fail_on == "never" and (decided.failed or decided.undecided):
        reasons.append("no gate decides the exit code (--fail-on never)")
    elif code == 0 and decided.undecided:
        reasons.append(f"an undecided gate does not decide the exit code (--on-inconclusive {on_inconclusive})")
    return Verdict(
        status=status,
        headline=_headline(draft, withheld, incomplete),
        reasons=tuple(reasons),
        next_steps=tuple(next_steps(draft, gates, unfit=unfit)),
        exit_code=code,
    )


def _status(
    draft: Result, decided: _Decided, withheld: list[str], incomplete: list[str], on_inconclusive: OnInconclusive
) -> tuple[VerdictStatus, int]:
    """(what it comes to, exit code), in the order of precedence."""
    unfit: VerdictStatus = "withheld" if withheld else "incomplete"
    if draft.run.interrupted:
        return "interrupted", 130
    if _is_fatal(draft):
        return unfit, 3
    if decided.failed:
        return "failed", 1
    if withheld or incomplete:
        return unfit, 3
    if decided.invalid:
        guessed = draft.target.assumed and not any(is_procedural(gate.metric) for gate in decided.invalid)
        return ("assumed input" if guessed else "invalid"), 3
    if decided.undecided:
        return "undecided", 4 if on_inconclusive == "fail" else 0
    if draft.target.assumed:
        return "assumed input", 0
    # what is asked of the audit itself says nothing of the model
    return ("passed" if any(not is_procedural(gate.metric) for gate in decided.binding) else "measured"), 0


def _is_fatal(draft: Result) -> bool:
    """Whether nothing that was measured counts."""
    checks = any(check.status == "fail" and facts_of(check).fatal for check in draft.checks)
    contradicted = draft.certified is not None and bool(draft.certified.contradicted)
    return draft.run.failed is not None or checks or contradicted


def _reasons(draft: Result, gates: Sequence[Gate], decided: _Decided) -> Iterator[str]:
    """Why, beside what is withheld or incomplete."""
    for gate in (*decided.failed, *decided.invalid, *decided.undecided):
        yield f"gate on {gate.metric}: {gate.message}"
    if draft.target.training:
        yield training_words(draft.target.training)
    if draft.target.reading.disputed is not None:
        yield draft.target.reading.disputed
    if not decided.invalid:
        yield from (f"assumed: {assumption}" for assumption in draft.target.assumed)
    for gate in gates:
        if gate.level == "warn" and gate not in decided.binding and counts(gate) and gate.status != "pass":
            yield f"warning, gate on {gate.metric}: {gate.message}"
    yield from _exceptions(gates)


def _exceptions(gates: Sequence[Gate]) -> list[str]:
    """What exceptions keep from counting, and those that are over."""
    found = []
    for gate in gates:
        if gate.ignore is None or gate.status == "pass":
            continue
        said = f"gate on {gate.metric}, {gate.status}: {gate.message}"
        if gate.ignore.active:
            found.append(f"ignored until {gate.ignore.until} ({gate.ignore.reason}), {said}")
        else:
            found.append(f"the exception to the gate on {gate.metric} ended on {gate.ignore.until}, so that it counts")
    return found


def _headline(draft: Result, withheld: list[str], incomplete: list[str]) -> str:
    observed = draft.worst_case.upper_bound_observed
    ball = threat_phrase(draft.threat_model)
    if withheld:
        names = ", ".join(text.partition(":")[0] for text in withheld)
        return f"Headline withheld: the audit cannot vouch for its figures ({names})."
    goal, pairs = draft.threat_model.goal_words, draft.worst_case.pairs
    if draft.threat_model.goal != "untargeted":
        if draft.worst_case.metric == "stability":
            claim = f"at most {percent(observed)} of the inputs are not made to answer {goal} under {ball}"
            claim += "; no accuracy is claimed"
        else:
            claim = f"targeted robust accuracy is at most {percent(observed)} under {ball}: answered correctly, not "
            claim += f"made to answer {goal}"
        claim += f"; {pairs.reached} of {pairs.tried} pairs of sample and class were reached" if pairs else ""
    elif draft.worst_case.metric == "stability":
        claim = f"the model keeps its own answer on at most {percent(observed)} of the inputs under {ball}"
        claim += "; no accuracy is claimed"
    else:
        claim = f"robust accuracy is at most {percent(observed)} under {ball}"
    return f"Incomplete audit; so far {claim}." if incomplete else f"{claim[0].upper()}{claim[1:]}."
