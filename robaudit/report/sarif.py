"""SARIF 2.1.0, for code scanning: a finding for what failed, was left open, or was broken; what passed is left out.

Every finding has a location that GitHub's code scanning takes: the line that asked for it, else the model's path,
relative to the root of the repository. Source: OASIS, SARIF Version 2.1.0 Plus Errata 01.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robaudit.audit.result.document import Result
from robaudit.audit.result.sections.run import Place
from robaudit.audit.verdict.phrases import threat_phrase
from robaudit.printable import json_text
from robaudit.report.base import Format
from robaudit.report.findings import Finding, findings
from robaudit.report.paths import model_place, relative_path, without_folders
from robaudit.report.rules import Rule, rules_of
from robaudit.report.sentences import error_lines, verdict_words
from robaudit.report.taxonomy import DISCLAIMER, TAXONOMIES, taxonomy_of
from robaudit.report.words import plain

__all__ = ["FORMAT", "render", "sarif_log"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT, RUN = "%SRCROOT%", "%RUNDIR%"
SPACE = uuid.UUID("6a0f7a8e-3a1b-5f0c-9d57-2f3a1f6a4b10")
"""Name space of the GUIDs: equal content has equal ones."""


def render(result: Result, run: Path | None = None) -> str:
    """The log with one run."""
    return json_text(sarif_log(result))


def sarif_log(result: Result, *, passes: bool = False) -> dict[str, Any]:
    """The log as a JSON value.

    Args:
        result: to report.
        passes: list gates and checks that passed too.
    """
    found = findings(result, passes=passes)
    places = sorted({finding.place.file for finding in found} - {model_place(result).file})
    run: dict[str, Any] = {
        "tool": {"driver": _driver(result)},
        "automationDetails": {
            "id": f"robaudit/{quote(model_place(result).file)}/{result.run.id[:16]}",
            "guid": _guid(f"run {result.run.id}"),
            "description": _message(f"Audit of {result.target.file} with the profile {result.profile.name}."),
        },
        "invocations": [_invocation(result)],
        "originalUriBaseIds": {
            ROOT: {"description": _message("Root of the repository that the audit ran in.")},
            RUN: {"description": _message("The run directory, with evidence and result.")},
        },
        "artifacts": _artifacts(result, places),
        "taxonomies": _taxonomies(),
        "results": [_result(result, finding, places) for finding in found],
        "columnKind": "utf16CodeUnits",
        "properties": _properties(result),
    }
    if result.comparison is not None:
        run["baselineGuid"] = _guid(f"run {result.comparison.baseline.run}")
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _guid(name: str) -> str:
    return str(uuid.uuid5(SPACE, name))


def _text(text: str) -> str:
    """Text of a message: on one line, no absolute path, no placeholder, no embedded link."""
    return plain(without_folders(text), 2000).replace("](", "] (").replace("{", "{{").replace("}", "}}")


def _message(text: str) -> dict[str, str]:
    return {"text": _text(text)}


def _driver(result: Result) -> dict[str, Any]:
    return {
        "name": result.tool.name,
        "version": result.tool.version,
        "semanticVersion": result.tool.version,
        "shortDescription": {"text": "Audits how easily a finished classifier is fooled."},
        "rules": [_rule(rule) for rule in rules_of(result).values()],
        "supportedTaxonomies": [
            {"name": taxonomy.name, "index": index, "guid": _guid(f"{taxonomy.name} {taxonomy.version}")}
            for index, taxonomy in enumerate(TAXONOMIES)
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    tags = ["robustness", "machine-learning"]
    tags += ["security", "external/cwe/cwe-1039"] if "CWE-1039" in rule.taxa else []
    content: dict[str, Any] = {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title} {rule.why}"},
        "help": {
            "text": f"{rule.why}\n\nWhat to do: {rule.action}\n\nMore: robaudit explain {rule.id}",
            "markdown": f"{rule.why}\n\n**What to do:** {rule.action}\n\nMore: `robaudit explain {rule.id}`",
        },
        "defaultConfiguration": {"level": rule.level},
        "properties": {"tags": tags},
    }
    if rule.taxa:
        content["relationships"] = [{"target": _taxon(id), "kinds": ["relevant"]} for id in rule.taxa]
    return content


def _taxon(id: str) -> dict[str, Any]:
    place, position = taxonomy_of(id)
    taxonomy = TAXONOMIES[place]
    component = {"name": taxonomy.name, "index": place, "guid": _guid(f"{taxonomy.name} {taxonomy.version}")}
    return {"id": id, "index": position, "toolComponent": component}


def _taxonomies() -> list[dict[str, Any]]:
    return [
        {
            "name": taxonomy.name,
            "version": taxonomy.version,
            "organization": taxonomy.organization,
            "guid": _guid(f"{taxonomy.name} {taxonomy.version}"),
            "informationUri": taxonomy.url,
            "shortDescription": {"text": f"{taxonomy.name} {taxonomy.version}"},
            "fullDescription": {"text": DISCLAIMER},
            "isComprehensive": False,
            "contents": ["nonLocalizedData"],
            "taxa": [
                {"id": taxon.id, "name": taxon.title, "shortDescription": {"text": taxon.words}, "helpUri": taxon.url}
                for taxon in taxonomy.taxa
            ],
        }
        for taxonomy in TAXONOMIES
    ]


def _invocation(result: Result) -> dict[str, Any]:
    code = result.verdict.exit_code
    notes = [{"level": "error", "message": _message(line)} for line in error_lines(result)]
    if not result.run.complete:
        reasons = "; ".join(result.verdict.reasons) or "something planned was not carried out"
        notes.insert(0, {"level": "error", "message": _message(f"The audit is incomplete: {reasons}")})
    notes += [{"level": "note", "message": _message(note)} for note in result.run.notes]
    content: dict[str, Any] = {
        "executionSuccessful": result.run.complete,
        "commandLine": plain(without_folders(result.run.command), 4000),
        "exitCode": code,
        "exitCodeDescription": _text(f"{verdict_words(result)}: {result.verdict.meaning}"),
        "toolExecutionNotifications": notes,
        "properties": {"verdict": result.verdict.word, "reproducible": result.run.reproducible},
    }
    for name, moment in (("startTimeUtc", result.run.started), ("endTimeUtc", result.run.finished)):
        if (told := _utc(moment)) is not None:
            content[name] = told
    return content


def _utc(moment: str) -> str | None:
    """A time of a result as SARIF writes it; None where it is no time."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(UTC)
    return parsed.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _artifacts(result: Result, places: Sequence[str]) -> list[dict[str, Any]]:
    """The model first, the files that asked for something in the order of ``places``, the evidence last."""
    found: list[dict[str, Any]] = [
        {
            "location": _uri(model_place(result).file, ROOT),
            "length": result.target.bytes,
            "hashes": {"sha-256": result.target.sha256},
            "roles": ["analysisTarget"],
            "description": _message(f"The file under audit, {result.target.format}."),
        }
    ]
    found += [{"location": _uri(path, ROOT), "roles": ["userSpecifiedConfiguration"]} for path in places]
    evidence = result.evidence
    if evidence.path is not None:
        found.append(
            {
                "location": _uri(evidence.path, RUN),
                "roles": ["attachment"],
                "description": _message(f"{evidence.count} adversarial examples with their originals."),
            }
            | ({"hashes": {"sha-256": evidence.sha256}} if evidence.sha256 else {})
        )
    return found


def _uri(path: str, base: str) -> dict[str, Any]:
    return {"uri": quote(relative_path(path)), "uriBaseId": base}


def _location(result: Result, place: Place, places: Sequence[str]) -> dict[str, Any]:
    """A place with a line, which code scanning wants of a binary file too."""
    index = 0 if place.file == model_place(result).file else 1 + places.index(place.file)
    artifact = _uri(place.file, ROOT) | {"index": index}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": place.line or 1}}}


def _result(result: Result, finding: Finding, places: Sequence[str]) -> dict[str, Any]:
    model, place = model_place(result), finding.place
    identity = json.dumps([finding.rule.id, finding.subject, model.file])
    print_ = hashlib.sha256(identity.encode()).hexdigest()
    taxa = [*finding.rule.taxa, *finding.taxa]
    content: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": list(rules_of(result)).index(finding.rule.id),
        "kind": finding.kind,
        "level": finding.level if finding.kind == "fail" else "none",
        "message": _message(finding.message),
        "locations": [_location(result, place, places)],
        # The second is what GitHub's code scanning tells alerts apart by.
        "partialFingerprints": {"robauditFinding/v1": print_, "primaryLocationLineHash": f"{print_[:16]}:1"},
    }
    if place.file != model.file:
        content["relatedLocations"] = [
            _location(result, model, places) | {"id": 1, "message": {"text": "the file under audit"}}
        ]
    if taxa:
        content["taxa"] = [_taxon(id) for id in taxa]
    if finding.baseline is not None:
        content["baselineState"] = finding.baseline
    if finding.suppressed is not None:
        content["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": _text(finding.suppressed)}
        ]
    if finding.properties:
        content["properties"] = {
            name: plain(value) if isinstance(value, str) else value for name, value in finding.properties.items()
        }
    return content


def _properties(result: Result) -> dict[str, Any]:
    worst = result.worst_case
    rate = worst.robust_accuracy or worst.stability
    return {
        "verdict": result.verdict.word,
        "headline": _text(result.verdict.headline),
        "threat": _text(threat_phrase(result.threat_model)),
        "metric": worst.metric,
        "worstCase": None if rate is None else {"estimate": rate.estimate, "low": rate.low, "high": rate.high},
        "limitations": [_text(limit) for limit in result.limitations],
    }


FORMAT = Format(
    name="SARIF",
    suffixes=(".sarif", ".sarif.json"),
    help="SARIF 2.1.0, for code scanning",
    render=render,
)
