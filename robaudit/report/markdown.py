"""Markdown for the job summary of a CI service, the verdict first; GitHub, GitLab and other readers take it.

Whatever comes from a file, its metadata, the data or a message is escaped: it can make no link, no image, no HTML, no
mention, and cannot leave its cell.
"""

from __future__ import annotations

from pathlib import Path

from robaudit.audit.result.document import Attack, Result
from robaudit.report.base import Format
from robaudit.report.certified import HEADS, bracket_words, certificate_rows, proved_words
from robaudit.report.chances import CHANCES, chance_lines
from robaudit.report.markup import bullets, code, escaped, table
from robaudit.report.masking import MASKING, masking_lines
from robaudit.report.paths import model_place
from robaudit.report.queries import TITLE, query_lines
from robaudit.report.rules import check_rule
from robaudit.report.secrecy import secrecy_rows, secrecy_sentences, secrecy_title
from robaudit.report.sentences import (
    UPPER_BOUND,
    applied_attacks,
    attack_notes,
    defense_words,
    detector_words,
    drawn_words,
    error_lines,
    evidence_words,
    gate_words,
    pairs_words,
    run_words,
    stopping_words,
    verdict_words,
    where_words,
    withheld_words,
    worst_case_name,
)
from robaudit.report.taxonomy import DISCLAIMER, TAXONOMIES, taxa_of_access
from robaudit.report.transfer import matrix_rows, matrix_sentences, matrix_title, surrogate_lines
from robaudit.report.words import (
    ball,
    count,
    duration,
    number,
    rate_words,
    short_rate,
    stability_notice,
    threat_words,
)

__all__ = ["FORMAT", "render"]

SIGNS = {
    "passed": "✅",
    "measured": "📏",
    "pass": "✅",
    "done": "✅",
    "failed": "❌",
    "fail": "❌",
    "warn": "⚠️",
    "inconclusive": "❔",
    "undecided": "❔",
    "skipped": "➖",
}
"""Signs beside the words, never in place of them; whatever else has a warning sign."""
LISTED_CHANGED = 20


def render(result: Result, run: Path | None = None) -> str:
    """The summary, ended by a newline."""
    parts = [
        *_head(result),
        *_gates(result),
        *_attacks(result),
        *_threats(result),
        *_certified(result),
        *_chances(result),
        *_curves(result),
        *_secrecy(result),
        *_transfer(result),
        *_comparison(result),
        *_checks(result),
        *_masking(result),
        *_lists(result),
        *_foot(result),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _sign(status: str) -> str:
    return f"{SIGNS.get(status, '⚠️')} {escaped(status)}"


def _head(result: Result) -> list[str]:
    verdict, worst = result.verdict, result.worst_case
    sign = SIGNS.get(verdict.status, "⚠️")
    lines = [f"## {sign} robaudit: {escaped(verdict_words(result))}, {escaped(model_place(result).file, 200)}", ""]
    lines += [f"**{escaped(verdict.headline, 1000)}**", "", escaped(verdict.meaning), ""]
    notices = [stability_notice(result.data), *(f"Assumed input: {text}" for text in result.target.assumed)]
    lines += [f"> ⚠️ {escaped(text, 1000)}\n" for text in notices if text]
    if verdict.reasons:
        lines += ["Why:", "", *bullets(verdict.reasons)]
    rate = worst.robust_accuracy or worst.stability
    shown = withheld_words(result)
    rows = [["Threat", escaped(threat_words(result.threat_model, result.data), 1000)]]
    if (defended := defense_words(result)) is not None:
        rows.append(["Defense", escaped(defended, 1000)])
    if result.detector is not None:
        rows.append(["Detector", escaped(detector_words(result.detector), 1000)])
    if result.clean.accuracy is not None:
        rows.append(["Clean accuracy", escaped(rate_words(result.clean.accuracy))])
    if rate is not None:
        rows.append([escaped(worst_case_name(result)), f"at most {escaped(rate_words(rate))}. {UPPER_BOUND}"])
    elif shown is not None:
        rows.append([escaped(worst_case_name(result)), " ".join(escaped(text) for text in shown if text)])
    if (pairs := pairs_words(result)) is not None:
        rows.append(["Pairs", escaped(pairs)])
    if (stopping := stopping_words(result)) is not None:
        rows.append(["Samples", escaped(stopping, 1000)])
    rows.append(["Data", f"{drawn_words(result.data)}, {escaped(result.data.kind)}"])
    rows.append(["Profile", f"{escaped(result.profile.name)}, seed {result.run.seed}"])
    rows.append(["Exit code", str(verdict.exit_code)])
    return [*lines, *table(("", ""), rows)]


def _gates(result: Result) -> list[str]:
    rows = []
    for gate in result.gates:
        ignore = gate.ignore if gate.ignore is not None and gate.ignore.active else None
        note = f" Exception: {escaped(ignore.reason)}." if ignore is not None else ""
        rows.append([escaped(gate_words(gate)), _sign(gate.status), f"{escaped(gate.message)}{note}"])
    return ["### Gates", "", *table(("gate", "status", "why"), rows)] if rows else []


def _attacks(result: Result) -> list[str]:
    if not result.attacks:
        return []
    heads = ("attack", "access", "status", "broken of tried", "left of all", "median distance", "queries", "time")
    rows = [_attack_row(attack, several=bool(result.threats)) for attack in applied_attacks(result)]
    notes = attack_notes(result)
    return [
        "### Attacks, each on what the ones before it left",
        "",
        *(table(heads, rows) if rows else []),
        *(bullets(notes) if notes else []),
        *_queries(result),
    ]


def _queries(result: Result) -> list[str]:
    lines = query_lines(result)
    return [f"#### {TITLE}", "", *bullets(lines)] if lines else []


def _attack_row(attack: Attack, *, several: bool) -> list[str]:
    name = escaped(f"{attack.id} ({attack.norm})" if several else attack.id)
    row = [name, escaped(attack.access), _sign(attack.status)]
    if not attack.ran:
        return [*row, *(["-"] * 5)]
    standing, distance = attack.cumulative_robust_accuracy, attack.median_distance
    return [
        *row,
        f"{attack.broken} of {attack.attempted}",
        escaped(short_rate(standing)) if standing is not None else "-",
        escaped(number(distance)) if distance is not None else "-",
        count(attack.queries) if attack.queries else "-",
        escaped(duration(attack.seconds)),
    ]


def _threats(result: Result) -> list[str]:
    rows = [
        [
            escaped(ball(outcome)),
            str(outcome.broken),
            str(outcome.broken_here_alone),
            escaped(short_rate(outcome.upper_bound_observed)),
        ]
        for outcome in result.threats
    ]
    heads = ("threat model", "broken", "broken here alone", "observed, at most")
    return ["### Each threat model by itself", "", *table(heads, rows)] if rows else []


def _certified(result: Result) -> list[str]:
    if result.certified is None:
        return []
    told = [text for text in (proved_words(result), bracket_words(result)) if text]
    rows = [[escaped(cell, 1000) for cell in row] for row in certificate_rows(result)]
    meaning = f"Proved means: {result.certified.statement}."
    return ["### What is proved", "", *bullets(told), *table(HEADS, rows), *bullets([meaning])]


def _masking(result: Result) -> list[str]:
    lines = masking_lines(result)
    return [f"### {MASKING}", "", *bullets(lines)] if lines else []


def _chances(result: Result) -> list[str]:
    lines = chance_lines(result)
    return [f"### {CHANCES}", "", *bullets(lines)] if lines else []


def _curves(result: Result) -> list[str]:
    lines = []
    for curve in result.curves:
        rows = [
            ["Samples with an adversarial example at some distance", str(curve.broken)],
            ["Samples without", str(curve.unbroken)],
            ["Median smallest distance", "-" if curve.median_distance is None else number(curve.median_distance)],
        ]
        lines += [f"### Robustness curve in {escaped(curve.norm)}", "", *table(("", ""), rows)]
    return lines


def _secrecy(result: Result) -> list[str]:
    lines = []
    for secrecy in result.secrecy:
        heads, rows = secrecy_rows(secrecy)
        lines += [f"### {escaped(secrecy_title(result, secrecy))}", ""]
        lines += table(heads, [[escaped(cell) for cell in row] for row in rows])
        lines += bullets(secrecy_sentences(result, secrecy))
    return lines


def _transfer(result: Result) -> list[str]:
    told = surrogate_lines(result)
    lines = ["### Surrogates", "", *bullets(told)] if told else []
    for matrix in result.transfer.matrices if result.transfer is not None else ():
        heads, rows = matrix_rows(matrix)
        lines += [f"### {escaped(matrix_title(result, matrix))}", ""]
        lines += table([escaped(head) for head in heads], [[escaped(cell) for cell in row] for row in rows])
        lines += bullets(matrix_sentences(result, matrix))
    return lines


def _comparison(result: Result) -> list[str]:
    comparison = result.comparison
    if comparison is None:
        return []
    change = comparison.worst_case
    rows = [
        ["Baseline", escaped(comparison.baseline.file)],
        ["Stood then", escaped(short_rate(change.base))],
        ["Stand now", escaped(short_rate(change.new))],
        ["No more, and anew", f"{change.lost} lost, {change.gained} gained, of {change.pairs}"],
        ["Outcome", escaped(change.outcome)],
    ]
    lines = ["### Against the baseline", "", escaped(comparison.message, 1000), "", *table(("", ""), rows)]
    broken = comparison.newly_broken
    if broken:
        more = f" and {len(broken) - LISTED_CHANGED} more" if len(broken) > LISTED_CHANGED else ""
        lines += [f"Newly broken: {', '.join(escaped(s.id, 80) for s in broken[:LISTED_CHANGED])}{more}", ""]
    return lines


def _checks(result: Result) -> list[str]:
    rows = [
        [escaped(check.id), _sign(check.status), check_rule(check).id, escaped(check.message)]
        for check in result.checks
    ]
    heads = ("check", "status", "rule", "finding")
    return ["### Checks of the audit itself", "", *table(heads, rows)] if rows else []


def _lists(result: Result) -> list[str]:
    lists = (
        ("What to do next", result.verdict.next_steps),
        ("What this does not say", result.limitations),
        ("Errors", error_lines(result)),
    )
    return [line for title, items in lists if items for line in (f"### {title}", "", *bullets(items))]


def _foot(result: Result) -> list[str]:
    rows = [
        ["File", f"sha256 {escaped(result.target.sha256)}"],
        ["Data", f"sha256 {escaped(result.data.sha256)}"],
        ["Evidence", escaped(evidence_words(result) or "none kept")],
        ["Run", escaped(run_words(result))],
        ["Evidence toward", _catalogues(result)],
        ["robaudit", escaped(result.tool.version)],
    ]
    return [
        "<details><summary>How to reproduce this</summary>",
        "",
        *table(("", ""), rows),
        escaped(where_words(result), 1000),
        "",
        *code(result.run.command),
        DISCLAIMER,
        "",
        "</details>",
    ]


def _catalogues(result: Result) -> str:
    """Entries of catalogues that the attacks which ran bear on."""
    ran = [attack.access for attack in result.attacks if attack.ran]
    ids = {taxon for access in ran for taxon in taxa_of_access(access)}
    ids |= {"AML.T0015", "AML.T0042", "NISTAML.022", "ML01:2023", "CWE-1039", "Article 15"} if ran else set()
    told = []
    for taxonomy in TAXONOMIES:
        entries = [taxon.id for taxon in taxonomy.taxa if taxon.id in ids]
        told += [f"{taxonomy.name} {taxonomy.version}: {', '.join(entries)}"] if entries else []
    return escaped("; ".join(told)) or "-"


FORMAT = Format(
    name="Markdown",
    suffixes=(".md",),
    help="Markdown, such as the job summary of a CI service",
    render=render,
)
