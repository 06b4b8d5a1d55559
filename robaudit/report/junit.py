"""JUnit XML, for the test view of a CI service: a case for the audit, and for each gate, attack and check.

An audit with another exit code than 0 has a failure or an error. A failure says something of the model: a gate that
failed, or is inconclusive where that decides. An error says that the audit could not tell: an attack that did not run
to its end, a check that failed, a gate that could not be judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from robaudit.audit.result.document import Attack, Certificate, Check, Gate, Result
from robaudit.plural import part_of
from robaudit.report.base import Format
from robaudit.report.findings import GATE_RULES
from robaudit.report.paths import model_place, without_folders
from robaudit.report.rules import check_rule
from robaudit.report.sentences import evidence_words, gate_words, verdict_line
from robaudit.report.words import plain, short_rate

__all__ = ["FORMAT", "render"]

Outcome: TypeAlias = Literal["pass", "failure", "error", "skipped"]

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 allows in no document, not even escaped."""


@dataclass(frozen=True)
class _Case:
    name: str
    outcome: Outcome = "pass"
    type: str = ""
    """The rule, or the status."""
    message: str = ""
    seconds: float = 0.0
    output: str = ""


def render(result: Result, run: Path | None = None) -> str:
    """The suites audit, gates, attacks, certificates and checks."""
    suites = {
        "audit": [_audit(result)],
        "gates": [_gate(result, gate) for gate in result.gates],
        "attacks": [_attack(result, attack) for attack in result.attacks],
        "certificates": [] if result.certified is None else list(map(_certificate, result.certified.certificates)),
        "checks": [_check(check) for check in result.checks],
    }
    every = [case for cases in suites.values() for case in cases]
    root = Element("testsuites", {"name": "robaudit", **_counts(every), "time": _seconds(result.run.seconds)})
    for name, cases in suites.items():
        if cases:
            _suite(root, result, name, cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _safe(text: str, limit: int = 2000) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", plain(without_folders(text), limit))


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0.0):.3f}"


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    counts = {name: sum(case.outcome == outcome for case in cases) for name, outcome in _COUNTED}
    return {"tests": str(len(cases)), **{name: str(number) for name, number in counts.items()}}


_COUNTED: tuple[tuple[str, Outcome], ...] = (("failures", "failure"), ("errors", "error"))


def _suite(root: Element, result: Result, name: str, cases: Iterable[_Case]) -> None:
    cases = list(cases)
    attributes = {
        "name": f"robaudit.{name}: {_safe(model_place(result).file, 200)}",
        **_counts(cases),
        "skipped": str(sum(case.outcome == "skipped" for case in cases)),
        "time": _seconds(sum(case.seconds for case in cases)),
        "timestamp": _safe(result.run.started, 40),
    }
    suite = SubElement(root, "testsuite", attributes)
    if name == "audit":
        properties = SubElement(suite, "properties")
        for key, value in _properties(result):
            SubElement(properties, "property", {"name": key, "value": _safe(value)})
    for case in cases:
        content = {"classname": f"robaudit.{name}", "name": _safe(case.name, 200)}
        element = SubElement(suite, "testcase", {**content, "time": _seconds(case.seconds)})
        if case.outcome != "pass":
            told = SubElement(element, case.outcome, {"type": case.type, "message": _safe(case.message)})
            told.text = _safe(case.message)
        if case.output:
            SubElement(element, "system-out").text = _safe(case.output)


def _properties(result: Result) -> list[tuple[str, str]]:
    return [
        ("robaudit.version", result.tool.version),
        ("robaudit.verdict", result.verdict.word),
        ("robaudit.run", result.run.id),
        ("robaudit.seed", str(result.run.seed)),
        ("robaudit.profile", result.profile.name),
        ("model.sha256", result.target.sha256),
        ("data.sha256", result.data.sha256),
    ]


def _audit(result: Result) -> _Case:
    verdict = result.verdict
    outcome: Outcome = "pass"
    if verdict.exit_code != 0:
        outcome = "failure" if verdict.status in ("failed", "undecided") else "error"
    message = f"{verdict_line(result)} {'; '.join(verdict.reasons) or verdict.meaning}"
    output = "; ".join([message, *filter(None, [evidence_words(result)])])
    return _Case("verdict", outcome, verdict.word, message, output=output)


def _gate(result: Result, gate: Gate) -> _Case:
    outcome: Outcome = "pass"
    if gate.status == "fail":
        outcome = "failure"
    elif gate.status == "inconclusive":
        outcome = "failure" if result.verdict.exit_code != 0 else "skipped"
    elif gate.status != "pass":
        outcome = "error"
    if gate.level == "warn" and outcome != "pass":
        # JUnit knows no warning; a failure would turn the build red, which this gate is not to do.
        outcome = "skipped"
    ignore = gate.ignore if gate.ignore is not None and gate.ignore.active else None
    warning = "warning only: " if gate.level == "warn" and gate.status != "pass" else ""
    if ignore is not None and outcome != "pass":
        outcome, warning = "skipped", f"ignored until {ignore.until} ({ignore.reason}): {warning}"
    kind = f"{GATE_RULES.get(gate.status, 'RA003')} {gate.status}"
    return _Case(gate_words(gate), outcome, kind, f"{warning}{gate.message}", output=gate.message)


def _attack(result: Result, attack: Attack) -> _Case:
    outcomes: dict[str, Outcome] = {"done": "pass", "skipped": "skipped", "unavailable": "skipped"}
    name = f"{attack.id} in {attack.norm}" if result.threats else attack.id
    why = attack.reason or ""
    told = f"{attack.status}: {why}" if why else attack.status
    standing = attack.cumulative_robust_accuracy
    figures = f"{part_of(attack.broken, attack.attempted, 'sample')} broken"
    figures += f"; left of all: {short_rate(standing)}" if standing is not None else ""
    output = figures if attack.ran else ""
    return _Case(name, outcomes.get(attack.status, "error"), attack.status, told, attack.seconds, output)


def _certificate(entry: Certificate) -> _Case:
    outcomes: dict[str, Outcome] = {"done": "pass", "skipped": "skipped"}
    told = f"{entry.status}: {entry.reason}" if entry.reason else entry.status
    output = f"{part_of(entry.proved, entry.tried, 'sample')} proved" if entry.tried else ""
    return _Case(entry.id, outcomes.get(entry.status, "error"), entry.status, told, entry.seconds, output)


def _check(check: Check) -> _Case:
    outcomes: dict[str, Outcome] = {"fail": "error", "skipped": "skipped"}
    warning = "warning: " if check.status == "warn" else ""
    kind = f"{check_rule(check).id} {check.status}"
    output = f"{warning}{check.message}"
    return _Case(check.id, outcomes.get(check.status, "pass"), kind, check.message, output=output)


FORMAT = Format(
    name="JUnit",
    suffixes=(".xml",),
    help="JUnit, a test case for each gate, attack and check",
    render=render,
)
