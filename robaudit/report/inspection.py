"""An inspection as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from robaudit.audit.inspection.document import Inspection, OperatorFacts, OutputFacts
from robaudit.report.words import duration, evaluations_words, plain, size

__all__ = ["inspection_lines"]

LISTED = 60
"""Rows of a section, such as features."""
SHOWN = 12
"""Nodes or names in a row."""


def inspection_lines(found: Inspection) -> Iterator[str]:
    """Sections of ``name  value`` rows."""
    for title, rows in _sections(found):
        yield title
        listed = list(rows)
        for name, value in listed[:LISTED]:
            yield f"  {plain(name, 60):<18} {plain(value, 2000) or '-'}"
        if len(listed) > LISTED:
            yield f"  and {len(listed) - LISTED} more (--format json has all)"


def _sections(found: Inspection) -> Iterator[tuple[str, Iterable[tuple[str, str]]]]:
    yield "file", _file(found)
    yield (
        "inputs",
        [
            (i.name, f"{_shape(i.shape)} {i.dtype}, " + ("attacked" if i.role == "attacked" else f"fixed at {i.value}"))
            for i in found.inputs
        ],
    )
    yield "meaning of the input", _meaning(found)
    if found.meaning.features:
        yield "features", found.meaning.features.items()
    if found.meaning.candidates:
        yield "candidates for the input", found.meaning.candidates.items()
    yield "outputs", [(o.name, f"{_shape(o.shape)} {o.dtype}" + _chosen(o)) for o in found.outputs]
    yield "class scores", _head(found)
    yield "operators", _operators(found)
    yield "gradient", _gradient(found)
    yield "behaviour", _behaviour(found)
    yield "speed", _speed(found)
    yield "cost of an audit", _costs(found)
    if found.notes or found.unmeasured:
        rows = [("note", note) for note in found.notes]
        yield (
            "remarks",
            rows + [(name.replace("_", " "), f"not measured: {why}") for name, why in found.unmeasured.items()],
        )


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "?"
    return "x".join("N" if d is None else str(d) for d in shape) or "scalar"


def _chosen(output: OutputFacts) -> str:
    return f", chosen: {output.reason}" if output.chosen else ""


def _file(found: Inspection) -> list[tuple[str, str]]:
    file, safety = found.file, found.safety
    rows = [
        ("path", file.path),
        ("sha256", file.sha256),
        ("format", f"{file.format}, {size(file.bytes)}"),
        ("parameters", f"{file.parameters:,} in {size(file.parameter_bytes)}"),
    ]
    if file.opsets:
        rows.append(("opset", ", ".join(f"{name} {version}" for name, version in file.opsets.items())))
        rows.append(("IR version", str(file.ir_version)))
        rows.append(("producer", file.producer))
    rows += [("judge", file.judge), ("code", safety.code)]
    if safety.external_data:
        rows.append(("weights kept in", ", ".join(safety.external_data)))
    if safety.foreign_domains:
        rows.append(("foreign operators", ", ".join(safety.foreign_domains)))
    return rows


def _meaning(found: Inspection) -> list[tuple[str, str]]:
    meaning = found.meaning
    rows = [("kind", f"{meaning.kind}, {_shape(meaning.shape)}")]
    if meaning.kind == "tokens":
        rows.append(("audit", "not possible yet: perturbations within an eps-ball do not apply to tokens"))
        return rows
    domain = meaning.domain
    within = "each feature's own range" if domain is None else f"{domain[0]:g} to {domain[1]:g}"
    facts: dict[str, str] = {"domain": within, "scale": f"{meaning.scale:g}"}
    for name, values in (("mean", meaning.mean), ("std", meaning.std)):
        facts[name] = ", ".join(f"{v:g}" for v in values) or "none"
    for name, text in (("layout", meaning.layout), ("channels", meaning.channels)):
        if text is not None:
            facts[name] = text
    rows += [(n, f"{text} ({meaning.provenance[n]})" if n in meaning.provenance else text) for n, text in facts.items()]
    return rows + [("assumed", sentence) for sentence in meaning.assumed or ("nothing",)]


def _head(found: Inspection) -> list[tuple[str, str]]:
    head = found.head
    names = "not declared"
    if head.class_names is not None:
        more = f" and {len(head.class_names) - SHOWN} more" if len(head.class_names) > SHOWN else ""
        names = ", ".join(head.class_names[:SHOWN]) + more
    rows = [("kind", head.kind), ("classes", str(head.classes)), ("class names", names)]
    if head.peeled and found.gradient.available:
        rows.append(
            ("gradient", f"taken before {', '.join(reversed(head.before))}; the judge takes the file's own output")
        )
    return rows


def _operators(found: Inspection) -> list[tuple[str, str]]:
    known = [o for o in found.operators if o.supported is not False]
    missing = [o for o in found.operators if o.supported is False]
    total = sum(o.count for o in found.operators)
    rows = []
    if any(o.supported is not None for o in found.operators):
        share = sum(o.count for o in known) / total if total else 1.0
        rows.append(("translated", f"{share:.1%} of {total} nodes, {len(known)} of {len(found.operators)} operators"))
    rows += [("not translated", f"{o.operator} x {o.count}: {_nodes(o)}") for o in missing]
    rows.append(("in the file", ", ".join(f"{o.operator} x {o.count}" for o in found.operators)))
    return rows


def _nodes(operator: OperatorFacts) -> str:
    more = f" and {len(operator.nodes) - SHOWN} more" if len(operator.nodes) > SHOWN else ""
    return ", ".join(operator.nodes[:SHOWN]) + more


def _gradient(found: Inspection) -> list[tuple[str, str]]:
    gradient, check = found.gradient, found.gradient_check
    if not gradient.available:
        return [("available", f"no: {gradient.reason or ''}")]
    rows = [("available", f"yes, {gradient.method}")]
    rows += [("without derivative", cut) for cut in gradient.cuts]
    if check is not None:
        rows.append(
            (
                "differences",
                f"the gradient differs from central differences of the file by {check.median_error:.1e} "
                f"(median of {check.points} samples), at most {check.worst_error:.1e}",
            )
        )
    return rows


def _behaviour(found: Inspection) -> list[tuple[str, str]]:
    rows = [("measured on", found.samples)]
    if found.parity is not None:
        parity = found.parity
        text = f"twin and file agree on {parity.argmax_agreement:.1%} of {parity.points} samples"
        if found.head.kind != "labels" and parity.relative_difference is not None:
            text += f", relative difference {parity.relative_difference:.1e}"
        if parity.noise is not None and found.head.kind != "labels":
            text += f" (ONNX Runtime's own noise: {parity.noise:.1e})"
        rows.append(("parity", text))
    if (batch := found.batch) is not None:
        rows.append(("batch", "any" if batch.declared is None else f"fixed at {batch.declared}"))
        matters = {True: "no", False: "yes", None: "not measured"}[batch.invariant]
        rows.append(("batch matters", matters + (f" ({batch.deviation:.1e})" if batch.deviation is not None else "")))
        rows.append(("repeats differ by", "-" if batch.repeats is None else f"{batch.repeats:.1e}"))
        rows.append(("best batch size", str(batch.best) + (f", twin: {batch.twin}" if batch.twin else "")))
    return rows


def _speed(found: Inspection) -> list[tuple[str, str]]:
    rows = []
    for s in found.speed or ():
        text = f"file {s.judge_ms:.2f} ms"
        if s.forward_ms is not None and s.gradient_ms is not None:
            text += f", twin {s.forward_ms:.2f} ms ({s.forward_ratio:.2f} x)"
            text += f", forward and backward {s.gradient_ms:.2f} ms ({s.gradient_ratio:.2f} x)"
        rows.append((f"batch {s.batch}", text))
    return rows or [("", "not measured")]


def _costs(found: Inspection) -> list[tuple[str, str]]:
    rows = []
    for name, cost in (found.costs or {}).items():
        text = f"at most {duration(cost.seconds)} in the model for {cost.samples} samples if none falls early"
        text += f" (a sample: {evaluations_words(cost.forwards, cost.backwards, cost.queries)})"
        if cost.money is not None:
            text += f", at most {cost.money.amount:,.2f} {cost.money.currency}"
        if cost.unknown:
            text += f", and what these need, which do not say: {', '.join(cost.unknown)}"
        if cost.unavailable:
            text += f"; unavailable: {', '.join(cost.unavailable)}"
        rows.append((name, text))
    return rows or [("", "not measured")]
