"""CycloneDX 1.6: a machine-learning bill of materials with a model card of what the audit measured.

Figures that may not be quoted (a check failed, the audit is incomplete) are left out, and the limitations say so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from robaudit.audit.result.document import Attack, Curve, CurvePoint, Output, Rate, Result, Sample
from robaudit.audit.verdict.phrases import NORM_SIGNS, ball, threat_phrase
from robaudit.plural import counted
from robaudit.printable import json_text
from robaudit.report.base import Format
from robaudit.report.curve import listed_points
from robaudit.report.paths import model_place, relative_path, without_folders
from robaudit.report.sentences import (
    UPPER_BOUND,
    drawn_words,
    gate_words,
    verdict_line,
    withheld_words,
    worst_case_name,
)
from robaudit.report.taxonomy import DISCLAIMER
from robaudit.report.words import input_words, number, plain, stability_notice, threat_words
from robaudit.stats.rates import rate as rate_of

__all__ = ["FORMAT", "bill", "render"]

SPACE = uuid.UUID("0e9d3f5c-7c0b-5e59-8f36-0c1f5c2f7d21")
"""Name space of serial numbers: the same run has the same one."""
LISTED_CLASSES = 100


def render(result: Result, run: Path | None = None) -> str:
    """The bill as JSON text."""
    return json_text(bill(result))


def bill(result: Result) -> dict[str, Any]:
    """The bill as a JSON value."""
    moment = _moment(result.run.finished)
    tool = {"type": "application", "name": result.tool.name, "version": result.tool.version}
    model = _model(result)
    content: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(SPACE, f"{result.run.id} {result.target.sha256}").urn,
        "version": 1,
        "metadata": {**({"timestamp": moment} if moment else {}), "tools": {"components": [tool]}},
        "components": [model],
    }
    if moment is not None:
        text = f"{verdict_line(result)} {threat_words(result.threat_model, result.data)} {DISCLAIMER}"
        content["annotations"] = [
            {
                "subjects": [model["bom-ref"]],
                "annotator": {"component": tool},
                "timestamp": moment,
                "text": _text(text, 4000),
            }
        ]
    return content


def _text(text: object, limit: int = 1000) -> str:
    return plain(without_folders(str(text)), limit)


def _moment(moment: str) -> str | None:
    """A time with its zone; None where the text is no time."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return parsed.isoformat() if parsed.tzinfo is not None else f"{parsed.isoformat()}Z"


def _model(result: Result) -> dict[str, Any]:
    target, evidence = result.target, result.evidence
    content: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model-{target.sha256}",
        "name": _text(PurePosixPath(model_place(result).file).name, 300),
        "description": _text(f"A classifier of {target.num_classes} classes, {target.format}."),
        "hashes": [{"alg": "SHA-256", "content": target.sha256}],
        "modelCard": _card(result),
        "properties": _properties(
            {
                "path": model_place(result).file,
                "format": target.format,
                "bytes": target.bytes,
                "head": target.head,
                "gradient": "available" if target.gradient.available else "unavailable",
                "input": input_words(target.input),
            }
        ),
    }
    if evidence.path is not None:
        content["externalReferences"] = [
            {
                "type": "evidence",
                "url": quote(relative_path(evidence.path)),
                "comment": f"{evidence.count} adversarial examples with their originals, in the run directory",
            }
            | ({"hashes": [{"alg": "SHA-256", "content": evidence.sha256}]} if evidence.sha256 else {})
        ]
    return content


def _properties(values: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"robaudit:{name}", "value": _text(value, 2000)} for name, value in values.items()]


def _card(result: Result) -> dict[str, Any]:
    target, data, run = result.target, result.data, result.run
    dataset = {
        "type": "dataset",
        "name": _text(relative_path(data.source), 300),
        "description": f"{drawn_words(data)}, drawn with the seed {run.seed} to evaluate the model; "
        f"reference: {'labels' if data.reference == 'labels' else 'answers of the model itself'}",
        "contents": {"properties": _properties({"sha256": data.sha256, "kind": data.kind})},
    }
    return {
        "modelParameters": {
            "task": "classification",
            "datasets": [dataset],
            "inputs": [{"format": _text(f"{target.input.dtype} {_shape(target.input.shape)}")}],
            "outputs": [{"format": _text(_output(output))} for output in target.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(result))},
        "considerations": {"technicalLimitations": list(_limitations(result))},
        "properties": _properties(
            {
                "verdict": result.verdict.word,
                "verdict:meaning": result.verdict.meaning,
                "exitCode": result.verdict.exit_code,
                "complete": str(run.complete).lower(),
                "reproducible": str(run.reproducible).lower(),
                "run": run.id,
                "seed": run.seed,
                "profile": result.profile.name,
                "profile:sha256": result.profile.sha256,
                "judge": result.environment.judge,
                "command": run.command,
            }
        )
        + [{"name": "robaudit:gate", "value": _text(f"{gate_words(gate)}: {gate.status}")} for gate in result.gates],
    }


def _shape(shape: tuple[int | str | None, ...]) -> str:
    return "x".join("?" if extent is None else str(extent) for extent in shape)


def _output(output: Output) -> str:
    return f"{output.dtype} {_shape(output.shape)}{' (class scores or labels)' if output.scores else ''}"


def _metric(kind: str, measured: Rate | CurvePoint | None, slice: str) -> Iterator[dict[str, Any]]:
    """A rate with its interval; nothing where there is none."""
    if measured is None or measured.estimate is None:
        return
    yield {
        "type": kind,
        "value": repr(measured.estimate),
        "slice": _text(slice),
        "confidenceInterval": {"lowerBound": repr(measured.low), "upperBound": repr(measured.high)},
    }


def _metrics(result: Result) -> Iterator[dict[str, Any]]:
    """The figures that may be quoted, each with its exact interval."""
    clean, worst = result.clean.accuracy, result.worst_case
    drawn = counted(result.data.drawn, "sample")
    yield from _metric("accuracy", clean, f"{drawn}, unperturbed")
    if withheld_words(result) is not None:
        return
    name = f"{worst_case_name(result).lower()} (upper bound)"
    threat = threat_phrase(result.threat_model)
    yield from _metric(name, worst.robust_accuracy or worst.stability, f"{drawn}, {threat}, all attacks")
    for outcome in result.threats:
        yield from _metric(name, outcome.upper_bound_observed, f"{drawn}, {ball(outcome)}, its attacks")
    for attack in result.attacks:
        yield from _metric(name, attack.rate_alone, f"{drawn}, {_told(attack)}")
        if attack.median_distance is not None:
            told = f"samples that {attack.id} broke, {NORM_SIGNS[attack.norm]}"
            yield {"type": "median adversarial distance", "value": repr(attack.median_distance), "slice": _text(told)}
    for curve in result.curves:
        if curve.median_distance is not None:
            yield _median(curve)
        for point in listed_points(curve):
            yield from _metric(name, point, f"{drawn}, {NORM_SIGNS[curve.norm]} ≤ {number(point.eps)} (curve)")
    yield from _classes(result, name)


def _median(curve: Curve) -> dict[str, Any]:
    """The median smallest distance, with its interval where the samples suffice for one."""
    content: dict[str, Any] = {
        "type": "median smallest adversarial distance",
        "value": repr(curve.median_distance),
        "slice": f"samples answered correctly, {NORM_SIGNS[curve.norm]}",
    }
    if curve.median_low is not None and curve.median_high is not None:
        content["confidenceInterval"] = {"lowerBound": repr(curve.median_low), "upperBound": repr(curve.median_high)}
    return content


def _told(attack: Attack) -> str:
    return f"the attack {attack.id} ({attack.access}, {NORM_SIGNS[attack.norm]}) alone"


def _classes(result: Result, name: str) -> Iterator[dict[str, Any]]:
    """Clean and attacked accuracy of each class of the labels."""
    if result.data.reference != "labels":
        return
    by_label: dict[int, list[Sample]] = {}
    for sample in result.samples:
        if sample.label is not None and sample.counted:
            by_label.setdefault(sample.label, []).append(sample)
    names = result.data.classes or ()
    for label, samples in sorted(by_label.items())[:LISTED_CLASSES]:
        told = f"class {label}" + (f" ({names[label]})" if 0 <= label < len(names) else "")
        told += f", {counted(len(samples), 'sample')}"
        yield from _metric("accuracy", rate_of(sum(s.correct for s in samples), len(samples)), f"{told}, unperturbed")
        yield from _metric(name, rate_of(sum(s.stands for s in samples), len(samples)), f"{told}, all attacks")


def _limitations(result: Result) -> Iterator[str]:
    shown = withheld_words(result)
    if shown is not None:
        yield _text(f"No attacked figure is given. {shown[0]}. {'; '.join(result.verdict.reasons)}", 4000)
    else:
        yield f"Attacked figures are upper bounds. {UPPER_BOUND}"
    yield "Intervals are exact (Clopper-Pearson), each for itself, and cover the drawing of samples alone."
    if (notice := stability_notice(result.data)) is not None:
        yield _text(notice)
    yield from (_text(f"Assumed: {assumption}") for assumption in result.target.assumed)
    yield from (_text(limit) for limit in result.limitations)


FORMAT = Format(
    name="CycloneDX",
    suffixes=(".cdx.json",),
    help="CycloneDX 1.6, a machine-learning model card",
    render=render,
)
