"""What the sections of the page say: rows and sentences, plain text all of them; the templates escape."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from robaudit.audit.result.document import Attack, Gate, Result
from robaudit.report.paths import relative_path
from robaudit.report.sentences import (
    UPPER_BOUND,
    applied_attacks,
    defense_words,
    detector_words,
    drawn_words,
    evidence_words,
    gate_words,
    gradient_words,
    output_words,
    rejected_words,
    run_words,
    withheld_words,
    worst_case_name,
)
from robaudit.report.words import (
    ball,
    count,
    duration,
    input_words,
    number,
    plain,
    short_rate,
    size,
    stability_notice,
)

__all__ = [
    "Cell",
    "attack_rows",
    "cards",
    "change_rows",
    "check_rows",
    "environment_facts",
    "gate_rows",
    "notices",
    "provenance",
    "settings_rows",
    "threat_rows",
]

ABSENT = "–"


class Cell(NamedTuple):
    """A key figure: what it is called, the figure, and its statistics."""

    name: str
    value: str
    note: str


def notices(result: Result) -> list[str]:
    """What must stand at the top: stability mode, an assumed input, a withheld headline, an audit that is not whole."""
    found = [stability_notice(result.data) or ""]
    found += [f"ASSUMED INPUT: {assumption}" for assumption in result.target.assumed]
    withheld = withheld_words(result)
    if withheld is not None:
        found.append(". ".join(part.rstrip(".") for part in withheld if part) + ".")
    if not result.run.complete and (withheld is None or not withheld[0].startswith("INCOMPLETE")):
        found.append("INCOMPLETE AUDIT: not everything that was planned was carried out.")
    if not result.run.reproducible:
        found.append("NOT REPRODUCIBLE: the same command need not give the same figures again.")
    return [text for text in found if text]


def cards(result: Result) -> list[Cell]:
    """The key figures with their statistics."""
    worst = result.worst_case.robust_accuracy or result.worst_case.stability
    found = []
    if worst is not None and worst.estimate is not None:
        note = f"{worst.k} of {worst.n} stand; {_interval(worst)}. {UPPER_BOUND}"
        found.append(Cell(worst_case_name(result), f"≤ {worst.estimate:.1%}", note))
    else:
        word = "withheld" if result.verdict.status == "withheld" else "not final"
        found.append(Cell(worst_case_name(result), word, "See the notices above."))
    clean = result.clean.accuracy
    if clean is not None and clean.estimate is not None:
        declared = f" Declared: {result.clean.declared:.1%}." if result.clean.declared is not None else ""
        rejected = f" {words}." if (words := rejected_words(result)) else ""
        note = f"{clean.k} of {clean.n} answered correctly; {_interval(clean)}.{declared}{rejected}"
        found.append(Cell("Clean accuracy", f"{clean.estimate:.1%}", note))
    checks = Counter(check.status for check in result.checks)
    told = ", ".join(f"{checks[status]} {status}" for status in ("pass", "warn", "fail", "skipped") if checks[status])
    found.append(Cell("Checks of the audit", told or "none", "They say whether its figures can be trusted."))
    serving = [attack.status for attack in result.attacks if attack.status != "skipped"]
    note = f"{result.evidence.count} adversarial examples kept, each confirmed on the file itself."
    found.append(Cell("Attacks carried out", f"{serving.count('done')} of {len(serving)}", note))
    return found


def _interval(rate: Any) -> str:
    return f"exact {rate.confidence:.0%} interval {rate.low:.1%} to {rate.high:.1%}"


def attack_rows(result: Result) -> list[dict[str, Any]]:
    """A row an attack."""
    return [_attack(attack) for attack in applied_attacks(result)]


def _attack(attack: Attack) -> dict[str, Any]:
    ran = attack.ran
    left, alone, distance = attack.cumulative_robust_accuracy, attack.rate_alone, attack.median_distance
    pairs, asked = attack.pairs, attack.queried
    return {
        "id": attack.id,
        "name": attack.name,
        "access": attack.access,
        "status": attack.status,
        "broken": f"{attack.broken}/{attack.attempted}" if ran else ABSENT,
        "pairs": f"{pairs.reached}/{pairs.tried} pairs" if ran and pairs is not None else None,
        "left": short_rate(left) if ran and left is not None else ABSENT,
        "alone": short_rate(alone) if ran and alone is not None else ABSENT,
        "queries": count(attack.queries) if ran and attack.queries else ABSENT,
        "median": None if asked is None else f"median {number(asked.median)}, mean {number(asked.mean)}",
        "bad": ABSENT if asked is None else f"{asked.bad / attack.queries:.1%}",
        "flagged": None if asked is None or not asked.watched else f"{asked.flagged / asked.watched:.1%} flagged",
        "forwards": count(attack.forwards) if ran else ABSENT,
        "backwards": count(attack.backwards) if ran else ABSENT,
        "distance": number(distance) if ran and distance is not None else ABSENT,
        "time": duration(attack.seconds) if ran else ABSENT,
    }


def threat_rows(result: Result) -> list[tuple[str, ...]]:
    """A row a threat model of several, and one for their union."""
    if not result.threats:
        return []
    rows = [
        (
            ball(outcome),
            str(outcome.broken),
            str(outcome.broken_here_alone),
            short_rate(outcome.upper_bound_observed),
            ABSENT if outcome.median_distance is None else number(outcome.median_distance),
        )
        for outcome in result.threats
    ]
    broken = sum(1 for sample in result.samples if sample.broken_by is not None)
    return [*rows, ("any of them", str(broken), ABSENT, short_rate(result.worst_case.upper_bound_observed), ABSENT)]


def check_rows(result: Result) -> list[tuple[str, str, str, str, str]]:
    """Check, status, what was measured, its threshold, and the reason."""
    return [
        (
            check.id,
            check.status,
            ABSENT if check.value is None else number(check.value),
            ABSENT if check.threshold is None else number(check.threshold),
            check.message,
        )
        for check in result.checks
    ]


def gate_rows(result: Result) -> list[tuple[str, str, str, str]]:
    """Gate, status, what was observed, and the reason."""
    found: list[tuple[str, str, str, str]] = []
    for gate in result.gates:
        seen = short_rate(gate.observed) if gate.observed is not None else ABSENT
        if gate.observed is None and gate.value is not None:
            seen = number(gate.value)
        found.append((gate_words(gate), gate.status, seen, gate.message + _exemption(gate)))
    return found


def _exemption(gate: Gate) -> str:
    if gate.ignore is None:
        return ""
    until = f"until {gate.ignore.until} ({gate.ignore.reason})"
    return f" – IGNORED {until}" if gate.ignore.active else f" – was ignored {until}, and counts again"


def change_rows(result: Result) -> list[tuple[str, ...]]:
    """Paired changes against a baseline."""
    comparison = result.comparison
    if comparison is None:
        return []
    parts = (("stands against all attacks", comparison.worst_case), ("correct without an attack", comparison.clean))
    return [
        (
            name,
            short_rate(change.base),
            short_rate(change.new),
            str(change.lost),
            str(change.gained),
            ABSENT
            if change.difference is None
            else f"{100 * change.difference:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]",
            f"{change.p_value:.3g}",
            change.outcome,
        )
        for name, change in parts
        if change is not None
    ]


def provenance(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """Facts on the model, the data, the profile and the run, each with its digest."""
    target, data, profile, run = result.target, result.data, result.profile, result.run
    model = [
        ("File", f"{relative_path(target.file)} ({target.format}, {size(target.bytes)})"),
        ("SHA-256", target.sha256),
        ("Input", input_words(target.input)),
        ("Output", output_words(result)),
        *([("Defense", defended)] if (defended := defense_words(result)) is not None else []),
        *([("Detector", detector_words(result.detector))] if result.detector is not None else []),
        ("Gradient", gradient_words(result)),
    ]
    if target.batch_invariant is not None:
        alike = "the same in any batch" if target.batch_invariant else "not the same in every batch: judged one by one"
        model.append(("Batches", f"an input's answer is {alike}"))
    details = target.details
    model += [(key.capitalize(), _fact(details[key])) for key in ("opset", "producer") if details.get(key)]
    samples = [
        ("Source", f"{relative_path(data.source)} ({data.kind})"),
        ("SHA-256", f"{data.sha256} (of the samples drawn, in order)"),
        ("Samples", drawn_words(data)),
    ]
    if data.classes is not None or data.class_order:
        samples.append(("Classes", data.class_order or f"{len(data.classes or ())} names"))
    samples += [("Note", note) for note in data.notes]
    how = [
        ("Profile", f"{profile.name} ({relative_path(profile.source)})"),
        ("SHA-256", f"{profile.sha256} (resolved)"),
        ("Seed", str(run.seed)),
        ("Run", run_words(result)),
        ("Began", run.started),
        ("Ended", run.finished),
    ]
    evidence = evidence_words(result)
    if evidence is not None:
        how.append(("Evidence", evidence))
    how += [("Note", note) for note in run.notes]
    return [("Model", model), ("Data", samples), ("Audit", how), ("Environment", environment_facts(result))]


def environment_facts(result: Result) -> list[tuple[str, str]]:
    """Where it ran."""
    place = result.environment
    facts = [
        ("robaudit", result.tool.version),
        ("Device", place.device),
        ("Judge", place.judge),
        ("Python", place.python),
        ("System", place.platform),
        *((name.replace("_", " ").capitalize(), _fact(value)) for name, value in place.details.items()),
        ("Packages", ", ".join(f"{name} {version}" for name, version in place.packages.items())),
    ]
    return [(name, text) for name, text in facts if text]


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def settings_rows(result: Result) -> list[tuple[str, str]]:
    """The resolved parameters of each attack."""
    return [(attack.id, _parameters(attack.parameters.items())) for attack in result.attacks if attack.parameters]


def _parameters(items: Iterable[tuple[str, Any]]) -> str:
    return "; ".join(f"{plain(name, 60)} = {plain(_fact(value), 400)}" for name, value in items)
