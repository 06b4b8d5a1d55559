"""What the parts of a result come to, in sentences; shared by the reports for people, so that they agree."""

from __future__ import annotations

from robaudit.audit.result.document import Attack, Data, Detecting, Fit, Gate, Result
from robaudit.audit.result.transfer import for_the_matrix
from robaudit.audit.verdict.gates import counts, is_procedural
from robaudit.errors import UsageError
from robaudit.plural import counted, part_of
from robaudit.report.words import duration, evaluations_words, plain, rate_words
from robaudit.stats.rates import rate

__all__ = [
    "UPPER_BOUND",
    "applied_attacks",
    "attack_notes",
    "day_words",
    "defense_words",
    "detector_words",
    "drawn_words",
    "error_lines",
    "evidence_words",
    "gate_words",
    "gradient_words",
    "output_words",
    "pairs_words",
    "rejected_words",
    "run_words",
    "stopping_words",
    "verdict_line",
    "verdict_words",
    "where_words",
    "withheld_words",
    "worst_case_name",
]

NAMED_GATES = 2
"""Gates that the verdict's word names; the list of gates has them all."""
UPPER_BOUND = "An upper bound for these samples: a stronger attack can only lower it."
LISTED_ERRORS = 20
LISTED_CUTS = 3


def drawn_words(data: Data) -> str:
    """How many samples were drawn of how many, and how many repeats were passed over."""
    told = part_of(data.drawn, data.count, "sample")
    return told + (f" ({data.repeats} more repeat inputs, which is no further evidence)" if data.repeats else "")


def output_words(result: Result) -> str:
    """Which output is judged and why, the classes, and inputs that keep their values."""
    target = result.target
    chosen = next((output for output in target.outputs if output.scores), None)
    text = f"{target.num_classes} classes, {target.head}"
    if chosen is None:
        return text
    others = ", ".join(plain(output.name, 40) for output in target.outputs if not output.scores)
    why = f" ({chosen.reason}; others: {others})" if others else ""
    fixed = "".join(
        f"; input {plain(name, 40)} fixed at {plain(value, 40)}" for name, value in target.fixed_inputs.items()
    )
    return f"{plain(chosen.name, 60)}: {text}{why}{fixed}"


def detector_words(found: Detecting) -> str:
    """A detector in a report of an audit with it."""
    fit = f", fitted on {found.fitted_on} clean samples" if found.fitted_on else ""
    slope = "" if found.differentiable else " Its suspicion has no gradient: no attack lowers it step by step."
    return (
        f"{found.words}, beside the file, which the attacker knows; what it rejects is no success{fit}. Its threshold, "
        f"{found.threshold:.4g}, was set at {found.false_alarms:.1%} false alarms on {found.calibrated_on} clean "
        f"samples apart from the audited ones.{slope} {found.summary}"
    )


def rejected_words(result: Result) -> str:
    """Samples that are rejected as they are, and by what; empty where none is."""
    if not result.clean.rejected:
        return ""
    return f"{result.clean.rejected} rejected by the {'service' if result.detector is None else 'detector'}"


def defense_words(result: Result) -> str | None:
    """What stands in front of the file, or None."""
    if result.defense is None:
        return None
    return f"{result.defense.words}, in front of the file, which the attacker knows. {result.defense.summary}"


def gradient_words(result: Result) -> str:
    """Whether there is a gradient, by what, and what it leaves out."""
    gradient = result.target.gradient
    if not gradient.available:
        return f"unavailable: {gradient.reason or 'no reason given'}"
    text = "available" + (f", by {gradient.source}" if gradient.source else "")
    if gradient.before:
        text += f"; taken before {gradient.before[-1]} at the end of the file"
    if gradient.cuts:
        more = f" and {len(gradient.cuts) - LISTED_CUTS} more" if len(gradient.cuts) > LISTED_CUTS else ""
        text += f"; {gradient.method} at {len(gradient.cuts)} operators without a useful derivative: "
        text += "; ".join(gradient.cuts[:LISTED_CUTS]) + more
    return text


def applied_attacks(result: Result) -> list[Attack]:
    """The attacks that serve this audit; the notes tell of those that were skipped, a table of its own of those of the
    matrix."""
    return [a for a in result.attacks if a.status != "skipped" and not (for_the_matrix(a) and a.status == "done")]


def attack_notes(result: Result) -> list[str]:
    """Why attacks did not run to their end, or on all that stood, candidates that the judge refused, and what fits took
    and came to."""
    return (
        [
            f"{attack.id} {attack.status}" + (f": {attack.reason}" if attack.reason else "")
            for attack in result.attacks
            if attack.status != "done"
        ]
        + [f"{attack.id} {attack.reason}" for attack in result.attacks if attack.status == "done" and attack.reason]
        + [
            f"{attack.id}: the judge refused {attack.candidates_refused} candidates on the original file"
            for attack in result.attacks
            if attack.candidates_refused
        ]
        + [_fit_words(result, fit) for fit in result.fits]
    )


def _fit_words(result: Result, fit: Fit) -> str:
    """What an attack was fitted on, what that cost, and how many samples fell to it, whatever fell before."""
    spent = evaluations_words(fit.forwards, fit.backwards, fit.queries)
    rounds = f"{fit.rounds} of {fit.of} rounds" if fit.rounds < fit.of else counted(fit.of, "round")
    told = f"{fit.attack}: fitted on {counted(fit.samples, 'other sample')} in {rounds}"
    told += f" ({spent}, {duration(fit.seconds)})"
    attack = next((attack for attack in result.attacks if attack.id == fit.attack), None)
    if attack is None or attack.rate_alone is None or not attack.attempted:
        return told
    found = rate(attack.broken, attack.attempted)
    return f"{told}; tried on every sample answered correctly, it fools {rate_words(found)}"


def worst_case_name(result: Result) -> str:
    """What the headline's figure is called."""
    name = "Robust accuracy" if result.worst_case.metric == "robust_accuracy" else "Stability"
    return name if result.threat_model.goal == "untargeted" else f"Targeted {name.lower()}"


def pairs_words(result: Result) -> str | None:
    """Pairs of a sample and a class that were reached; None without a goal of several classes."""
    pairs = result.worst_case.pairs
    if pairs is None:
        return None
    share = f" ({pairs.share:.1%})" if pairs.share is not None else ""
    return f"Of all pairs of a sample and a class to answer, {pairs.reached} of {pairs.tried}{share} were reached."


def stopping_words(result: Result) -> str | None:
    """Why a sequential audit ended, and that its intervals hold all the same; None where the samples were fixed."""
    found = result.sequential
    if found is None:
        return None
    return f"Sequential audit, {found.reason}. Intervals and gates allow for the looks at the data on the way."


def withheld_words(result: Result) -> tuple[str, str | None] | None:
    """What stands in place of the headline's figure, and what was observed; None where the figure may be quoted."""
    worst = result.worst_case
    if worst.robust_accuracy is not None or worst.stability is not None:
        return None
    observed = worst.upper_bound_observed
    if result.verdict.status == "withheld" or any(check.status == "fail" for check in result.checks):
        kept = f"{observed.n - observed.k} of {observed.n}"
        return "WITHHELD: the audit cannot vouch for it", f"Observed, and not to be quoted: {kept} wrong or broken."
    return f"INCOMPLETE: so far at most {rate_words(observed)}", None


def gate_words(gate: Gate) -> str:
    """A gate's metric with its bounds, its level and an exception to it."""
    bounds = f" ≥ {gate.min:g}" if gate.min is not None else ""
    bounds += f" ≤ {gate.max:g}" if gate.max is not None else ""
    notes = " (warning only)" if gate.level == "warn" else ""
    if gate.ignore is not None:
        notes += f" (ignored until {gate.ignore.until})" if gate.ignore.active else " (no longer ignored)"
    return f"{gate.metric}{bounds}{notes}"


def verdict_words(result: Result) -> str:
    """The verdict's word, with what it rests on: ``MEASURED (no gate on the model)``, ``FAILED (coverage ≥ 1)``."""
    verdict = result.verdict
    if verdict.status == "measured":
        return f"{verdict.word} (no gate on the model)"
    states = {"passed": "pass", "failed": "fail", "undecided": "inconclusive"}
    state = states.get(verdict.status)
    named = [g for g in result.gates if g.status == state and counts(g) and _on_model(g)]
    # where errors and warnings lead to the same word, the errors do
    told = [gate_words(gate) for gate in named if gate.level == "error"] or [gate_words(gate) for gate in named]
    if not told:
        return verdict.word
    more = f" and {len(told) - NAMED_GATES} more" if len(told) > NAMED_GATES else ""
    return f"{verdict.word} ({', '.join(plain(text, 100) for text in told[:NAMED_GATES])}{more})"


def _on_model(gate: Gate) -> bool:
    """Whether a gate asks something of the model; one that this version does not know may."""
    try:
        return not is_procedural(gate.metric)
    except UsageError:
        return True


def verdict_line(result: Result) -> str:
    """The verdict on one line: its word, and the headline."""
    return f"{verdict_words(result)}: {result.verdict.headline}"


def error_lines(result: Result) -> list[str]:
    """A line an error, the first of them."""
    lines = []
    for error in result.errors:
        cost = [f"{kind} {name}" for kind, name in (("attack", error.attack), ("sample", error.sample)) if name]
        lines.append(f"{error.where}{' (' + ', '.join(cost) + ')' if cost else ''}: {error.message}")
    more = len(lines) - LISTED_ERRORS
    return lines[:LISTED_ERRORS] + ([f"and {more} more; the JSON report has them all"] if more > 0 else [])


def evidence_words(result: Result) -> str | None:
    """Where the adversarial examples are; None where there are none."""
    evidence = result.evidence
    if evidence.path is None:
        return None
    digest = f", sha256 {evidence.sha256}" if evidence.sha256 else ""
    more = f", and {evidence.nearest} that the curve rests on," if evidence.nearest else ""
    return f"{evidence.count} adversarial examples{more} in {evidence.path}{digest}"


def where_words(result: Result) -> str:
    """In which folder the command of a report reproduces the audit, and which paths it leaves to the reader."""
    where = "To be run in the folder in which the audit ran."
    if not result.run.elsewhere:
        return where
    names = ", ".join(plain(name, 80) for name in result.run.elsewhere)
    return f"{where} Outside of it lay {names}: put the path in place of each name."


def day_words(moment: str) -> str:
    """Day and minute of an ISO 8601 time, as it was told."""
    day, _, time = moment.partition("T")
    return f"{day} {time[:5]}{' UTC' if time.endswith(('+00:00', 'Z')) else ''}".strip()


def run_words(result: Result) -> str:
    """The run's id, time, and whether it can be reproduced."""
    run = result.run
    resumed = ", resumed from the journal" if run.resumed else ""
    if run.shown_again is not None:
        resumed += f", finished on {day_words(run.finished)} and shown again: nothing was computed anew"
    promise = "" if run.reproducible else "; not reproducible"
    if not run.reproducible and not run.budget_spent:
        promise += ", as the file does not answer alike each time"
    if run.time_budget is not None:
        budget = f"its time budget of {duration(run.time_budget)}"
        promise += f", as {budget} was spent" if run.budget_spent else f", within {budget}"
    return f"{run.id}, {duration(run.seconds)}{resumed}{promise}; network: {run.network}"
