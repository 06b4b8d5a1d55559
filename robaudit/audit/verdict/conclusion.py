"""The verdict: what the checks, attacks and gates of an audit come to, its exit code, and what to do next.

Precedence of exit codes: 130 interrupted; 3 if a fatal check (clean, evidence), or the worker, failed; 1 if
verified evidence fails a gate, even in an incomplete audit; 3 if a check failed, an attack is missing or a
gate cannot be judged; 4 inconclusive; 0. (2, input refused before the audit, never gets here.)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, TypeAlias

from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.profile import GateSpec
from robaudit.audit.result.document import (
    INCOMPLETE_STATUSES,
    Gate,
    Radius,
    Rate,
    Result,
    Threat,
    ThreatOutcome,
    Verdict,
    VerdictStatus,
)
from robaudit.audit.result.sections.target import training_words
from robaudit.audit.verdict.advice import of_open_gates
from robaudit.audit.verdict.check_facts import facts_of
from robaudit.audit.verdict.gates import counts, day_of, evaluate_gates, is_procedural

__all__ = [
    "NORM_SIGNS",
    "FailOn",
    "OnInconclusive",
    "ball",
    "ball_phrase",
    "conclude",
    "percent",
    "sets_phrase",
    "threat_phrase",
]

OnInconclusive: TypeAlias = Literal["fail", "warn", "pass"]
FailOn: TypeAlias = Literal["error", "warn", "never"]
"""Gates that decide the exit code: those of level error, all, or none; an invalid audit is 3 in any case."""

SHOWN = 5
"""Samples that a reason names."""
NORM_SIGNS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}


def percent(rate: Rate) -> str:
    """A rate in words: estimate, counts and interval."""
    if rate.estimate is None:
        return "unknown (no samples)"
    interval = f"{rate.confidence:.0%} interval {rate.low:.1%} to {rate.high:.1%}"
    return f"{rate.estimate:.1%} ({rate.k} of {rate.n}, {interval})"


def threat_phrase(threat: Threat) -> str:
    """The ball, such as ``L∞ ≤ 8/255``, or the union of several, and what may be changed."""
    return ball_phrase(threat) + sets_phrase(threat)


def ball_phrase(threat: Threat) -> str:
    """The ball alone, or the union of several."""
    balls = [ball(threat), *map(ball, threat.also)]
    return balls[0] if len(balls) == 1 else f"the union of {', '.join(balls[:-1])} and {balls[-1]}"


def sets_phrase(threat: Threat) -> str:
    """What may be changed beside the ball, such as ``, where only 10 of 100 features may change (mask m.png)``."""
    return "".join(f", where {one.words}" for one in threat.sets)


def ball(threat: Threat | Radius | ThreatOutcome) -> str:
    """One ball, such as ``L2 ≤ 0.5``."""
    features = " features" if threat.norm == "l0" else ""
    return f"{NORM_SIGNS[threat.norm]} ≤ {threat.eps_text}{features}"


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
    ran = {attack.access for attack in draft.attacks if attack.status in ("done", "partial")}
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


def _verdict(
    draft: Result,
    gates: Sequence[Gate],
    withheld: list[str],
    incomplete: list[str],
    on_inconclusive: OnInconclusive,
    fail_on: FailOn,
) -> Verdict:
    binding = [gate for gate in gates if counts(gate) and (gate.level == "error" or fail_on == "warn")]
    failed = [gate for gate in binding if gate.status == "fail" and not is_procedural(gate.metric)]
    invalid = [gate for gate in binding if gate.status == "invalid"]
    invalid += [gate for gate in binding if gate.status == "fail" and is_procedural(gate.metric)]
    undecided = [gate for gate in binding if gate.status == "inconclusive"]
    fatal = draft.run.failed is not None or any(
        check.status == "fail" and facts_of(check).fatal for check in draft.checks
    )
    fatal |= draft.certified is not None and bool(draft.certified.contradicted)
    status: VerdictStatus
    if draft.run.interrupted:
        status, code = "interrupted", 130
    elif fatal:
        status, code = ("withheld" if withheld else "incomplete"), 3
    elif failed:
        status, code = "failed", 1
    elif withheld or incomplete:
        status, code = ("withheld" if withheld else "incomplete"), 3
    elif invalid:
        guessed = draft.target.assumed and not any(is_procedural(gate.metric) for gate in invalid)
        status, code = ("assumed input" if guessed else "invalid"), 3
    elif undecided:
        status, code = "undecided", 4 if on_inconclusive == "fail" else 0
    elif draft.target.assumed:
        status, code = "assumed input", 0
    else:
        # what is asked of the audit itself says nothing of the model
        status, code = ("passed" if any(not is_procedural(gate.metric) for gate in binding) else "measured"), 0
    if fail_on == "never" and code in (1, 4):
        code = 3 if withheld or incomplete or invalid else 0
    reasons = [*withheld, *incomplete]
    reasons += [f"gate on {gate.metric}: {gate.message}" for gate in (*failed, *invalid, *undecided)]
    if draft.target.training:
        reasons.append(training_words(draft.target.training))
    if draft.target.reading.disputed is not None:
        reasons.append(draft.target.reading.disputed)
    if not invalid:
        reasons += [f"assumed: {assumption}" for assumption in draft.target.assumed]
    reasons += [
        f"warning, gate on {gate.metric}: {gate.message}"
        for gate in gates
        if gate.level == "warn" and gate not in binding and counts(gate) and gate.status != "pass"
    ]
    reasons += _exceptions(gates)
    if code == 0 and fail_on == "never" and (failed or undecided):
        reasons.append("no gate decides the exit code (--fail-on never)")
    elif code == 0 and undecided:
        reasons.append(f"an undecided gate does not decide the exit code (--on-inconclusive {on_inconclusive})")
    return Verdict(
        status=status,
        headline=_headline(draft, withheld, incomplete),
        reasons=tuple(reasons),
        next_steps=tuple(_next_steps(draft, gates, bool(withheld or incomplete))),
        exit_code=code,
    )


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


def _after_failure(gates: Sequence[Gate]) -> list[str]:
    """What to do about gates on the model that failed."""
    failed = [gate for gate in gates if gate.status == "fail" and counts(gate) and not is_procedural(gate.metric)]
    proved = [gate for gate in failed if parse_metric(gate.metric).name == "certified_accuracy"]
    failed = [gate for gate in failed if gate not in proved]
    clean = [gate.metric.rpartition(".")[2] in ("clean_accuracy", "clean_regression") for gate in failed]
    steps = []
    if proved:
        steps.append(
            "too few samples are proved, which does not say that they can be broken: train the model for its bounds, "
            "ask at a smaller radius, or gate the attacked figure"
        )
    if any(clean):
        steps.append(
            "the model answers too few unperturbed samples rightly, whatever the attacks do: look at the labels and "
            "the order of the classes, then at the model"
        )
    if not all(clean):
        steps.append("look at the adversarial examples in the evidence, then harden the model and audit it again")
    return steps


def _next_steps(draft: Result, gates: Sequence[Gate], unfit: bool) -> list[str]:
    steps = _after_failure(gates)
    if draft.run.interrupted or draft.run.budget_spent or draft.run.failed is not None:
        steps.append("run the same command again: it goes on from the journal")
    steps += [step for check in draft.checks if check.status == "fail" and (step := facts_of(check).next_step)]
    if draft.certified is not None and draft.certified.contradicted:
        steps.append(
            "a sample was proved and broken at once: trust neither figure, and report it to the authors of robaudit, "
            "or of the certifier, with the model and that sample"
        )
    stuck = [attack for attack in draft.attacks if attack.status == "unavailable"]
    if any(attack.access == "white-box" for attack in stuck) and not draft.target.gradient.available:
        steps.append(
            "no gradient for this file: choose a profile without white-box attacks, "
            "or export it with operators that have one"
        )
    if draft.attacks and all(attack.status == "skipped" for attack in draft.attacks):
        steps.append(
            "name attacks in a profile that serve this norm, goal and number of classes (`robaudit explain` tells "
            "which do), or take --profile union, which has some for every norm"
        )
    if any(attack.status == "failed" for attack in draft.attacks):
        steps.append("see the errors for the attack that failed, and run again")
    if draft.target.assumed:
        table = bool(draft.target.input.features)
        flags = "--mean, --std, --scale, --layout, or robaudit.yaml"
        what = "each feature's range (--feature-ranges)" if table else f"what the input means ({flags})"
        steps.append(f"state {what}; it was assumed, and no gate on the model passes until then")
    if draft.target.training:
        steps.append("call eval() on the model before it is saved or exported, and audit that file")
    if draft.threat_model.goal != "untargeted":
        steps.append("audit with --goal untargeted too: any wrong answer is at least as easy to reach as a certain one")
    if draft.data.reference == "model":
        steps.append("give labelled data (--data) to measure robust accuracy instead of stability")
    steps += of_open_gates(draft, [gate for gate in gates if gate.status == "inconclusive" and counts(gate)])
    if not any(not is_procedural(gate.metric) for gate in gates) and not unfit and not draft.target.assumed:
        how = "--gate 'stability>=0.5'" if draft.worst_case.metric == "stability" else "--min-robust"
        steps.append(f"set a gate of your own, such as {how}, to use this in CI")
    return steps
