"""Sequential audits: what the journal holds of the looks, which gates they decide, and what a result says of it.

A look is journaled when all attacks are done with its chunk of the pre-arranged order. Nothing else of the journal
counts: broken samples are finished before those that stand, so that counts of what is finished are biased.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.metrics import is_sequential, parse_metric
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal, Record
from robaudit.audit.journal.tally import Tally
from robaudit.audit.plan.fronts import single_threats
from robaudit.audit.result import document as model
from robaudit.audit.session.cascade import UNTRIED
from robaudit.audit.verdict.retests import LEAST, standing_of
from robaudit.engine.units import sample_of
from robaudit.errors import UsageError
from robaudit.plural import counted
from robaudit.stats.looks import Decision, at_share, decide, design
from robaudit.stats.rates import lower_bound, upper_bound

__all__ = [
    "Chunk",
    "chunks",
    "completed",
    "gate_words",
    "look_record",
    "restricted",
    "section",
    "sequential_gates",
    "settled",
    "validate_sequential",
]

SEVERITY = ("done", "partial", "failed")


@dataclass(frozen=True)
class Chunk:
    """The samples that a look adds.

    Args:
        number: of the look, from 1, ``last`` that of the last one.
        size: samples drawn until then, ``before`` until the look before.
        share: of the error.
        indices: what it adds, in data order.
        passed: what was passed over until then as copies of inputs drawn before, as fields of the data's record.
    """

    number: int
    last: int
    size: int
    before: int
    share: float
    indices: list[int]
    passed: Record = field(default_factory=dict)


class Ordered(Protocol):
    """Distinct samples in the order in which they are drawn; see :class:`robaudit.data.distinct.DistinctDraw`."""

    repeats: int

    @property
    def contradictions(self) -> int:
        """Inputs that occurred with different labels."""
        ...

    def first(self, count: int) -> list[int]:
        """The first so many, fewer where there are no more."""
        ...

    def notes(self, asked: int) -> list[str]:
        """What was passed over, a sentence each."""
        ...


def sequential_gates(request: AuditRequest) -> list[GateSpec]:
    """The gates that decide when to stop: those on the share of all samples that stand, or are answered correctly.

    One that is excused today is not waited for.
    """
    other = "robust_accuracy" if request.reference == "model" else "stability"
    today = datetime.now(UTC).date()

    def decides(gate: GateSpec) -> bool:
        name = parse_metric(gate.metric).name
        applies = name != other and not (name == "clean_accuracy" and request.reference == "model")
        excused = gate.ignore is not None and today <= gate.ignore.until
        return is_sequential(gate.metric) and applies and not excused

    return [gate for gate in request.profile.gates if decides(gate)]


def validate_sequential(request: AuditRequest) -> None:
    """Refuse a sequential audit that nothing would ever stop.

    Raises:
        UsageError: there is no gate that could be decided on the way.
    """
    if request.until_decided and not sequential_gates(request):
        need = "a gate on stability" if request.reference == "model" else "--min-robust, or a gate on robust_accuracy"
        raise UsageError(f"--until-decided needs a gate to decide: give {need}")


def chunks(draw: Ordered, asked: int) -> Iterator[Chunk]:
    """The samples in the order of the draw, cut into the chunks of the looks; none is read before its chunk.

    The samples until a look are those that a smaller draw would give, whatever the model makes of them. Where the data
    turn out to hold fewer distinct inputs than were asked for, the look that has them all is the last and spends what
    that of the plan would have spent: which looks are taken depends on the inputs alone, and their shares of the error
    add up to no more than 1.

    Args:
        draw: the samples.
        asked: most that may be audited.
    """
    plan = design(max(asked, 1))
    before = 0
    for number, (size, share) in enumerate(zip(plan.sizes, plan.shares, strict=True), 1):
        found = draw.first(min(size + 1, asked))  # one more tells whether there is another look
        last = len(found) <= size
        passed = {"repeats": draw.repeats, "contradictions": draw.contradictions, "told": draw.notes(asked)}
        yield Chunk(
            number=number,
            last=number if last else len(plan.sizes),
            size=min(size, len(found)),
            before=before,
            share=plan.shares[-1] if last else share,
            indices=sorted(found[before:size]),
            passed=passed,
        )
        if last:
            return
        before = size


def recorded(journal: Journal) -> list[Record]:
    """The looks in order; one that was taken again discards those after it."""
    looks: list[Record] = []
    for record in journal.of("look"):
        looks = [*looks[: record["number"] - 1], record]
    return looks


def settled(journal: Journal) -> list[Record]:
    """The looks that need not be taken again: those before the first with an attack that failed."""
    found: list[Record] = []
    for record in recorded(journal):
        if any(status != "done" for status, _ in record["attacks"].values()):
            break
        found.append(record)
    return found


def restricted(journal: Journal, indices: Collection[int]) -> Journal:
    """The journal as if only these samples had been answered and attacked; to read from."""
    kept = set(indices)

    def counts(record: Record) -> bool:
        if record["kind"] == "clean":
            return record["index"] in kept
        return record["kind"] != "unit" or sample_of(record["sample"]) in kept

    records = [record for record in journal.records if counts(record)]
    return Journal(journal.folder, None, records, journal.points, journal.failure)


def completed(journal: Journal) -> Journal:
    """The journal as if the audit had drawn the samples of its completed looks alone; to read from.

    Where no look was completed it is that of the first chunk, as far as that came.
    """
    looks = recorded(journal)
    indices = {i for look in looks for i in look["indices"]} if looks else set(journal.keyed("clean", "index"))
    found = restricted(journal, indices)
    names = {index: record["id"] for index, record in sorted(found.keyed("clean", "index").items())}
    changes: Record = {"indices": list(names), "ids": list(names.values()), "drawn": len(names)}
    passed = dict(looks[-1].get("passed", {})) if looks else {}
    told = passed.pop("told", [])
    for place, record in enumerate(found.records):
        if record["kind"] == "data":
            notes = [*record["notes"], *told] if told else record.get("notes", [])
            found.records[place] = {**record, **changes, **passed, "notes": notes}
    if looks:
        found.records = [record for record in found.records if record["kind"] != "attack"]
        found.records += _attacks(journal, found, looks)
    return found


def _attacks(journal: Journal, kept: Journal, looks: Sequence[Record]) -> list[Record]:
    """What became of each attack over all looks: the worst of them."""
    tried = {record["attack"] for record in kept.of("unit") if not record["error"]}
    found = []
    for key, last in journal.keyed("attack", "id").items():
        outcomes = [look["attacks"][key] for look in looks if key in look["attacks"]]
        # where a look left it a few samples alone, none of which it could be carried out on, that is theirs to tell
        outcomes = [o for o in outcomes if not (key in tried and (o[1] or "").startswith(UNTRIED))] or [["done", None]]
        status, reason = max(outcomes, key=lambda outcome: SEVERITY.index(outcome[0]))
        found.append({**last, "status": status, "reason": reason})
    return found


def look_record(request: AuditRequest, journal: Journal, chunk: Chunk, begun: int) -> Record:
    """The record of a look, with whether the audit ends at it (``stopped``).

    Args:
        request: with the gates.
        journal: that the chunk has been through all attacks in.
        chunk: the look's.
        begun: records in the journal before the chunk.
    """
    before = [index for look in recorded(journal)[: chunk.number - 1] for index in look["indices"]]
    clean = journal.keyed("clean", "index")
    tally = Tally(journal, {index: clean[index] for index in sorted([*before, *chunk.indices])})
    specs = sequential_gates(request)
    radii: dict[str, float] = {part.threat.norm: part.threat.radius for part in single_threats(request.profile)}
    left = [standing_of(spec, request.earlier, radii).share for spec in specs]
    gates = [_gate(s, *_counts(s.metric, tally), chunk.share * part) for s, part in zip(specs, left, strict=True)]
    verdicts: list[tuple[str, Decision]] = [(s.level, g["decision"]) for s, g in zip(specs, gates, strict=True)]
    decided = ("error", "fail") in verdicts or all(decision != "open" for _, decision in verdicts)
    return {
        "kind": "look",
        "number": chunk.number,
        "samples": chunk.size,
        "share": chunk.share,
        "indices": chunk.indices,
        "passed": chunk.passed,
        "attacks": {r["id"]: [r["status"], r["reason"]] for r in journal.records[begun:] if r["kind"] == "attack"},
        "gates": gates,
        "stopped": "decided" if decided else "exhausted" if chunk.number == chunk.last else None,
    }


def _counts(metric: str, tally: Tally) -> tuple[int, int]:
    """Successes and samples of a gate's metric."""
    found = parse_metric(metric)
    if found.name == "clean_accuracy":
        return len(tally.correct), tally.drawn
    front = tally.fronts.get(found.norm or "")
    return tally.standing if front is None else tally.whole - len(front.broken_by), tally.audited


def _gate(spec: GateSpec, k: int, n: int, share: float) -> Record:
    error, confidence = 1 - spec.confidence, at_share(spec.confidence, share)
    if error * share < LEAST:  # earlier tests have spent it
        nothing: Record = {"low": 0.0, "high": 1.0, "decision": "open"}
        return {"metric": spec.metric, "min": spec.min, "max": spec.max, "k": k, "n": n, **nothing}
    decision = decide(k, n, share, least=spec.min, most=spec.max, false_pass=error, false_fail=error)
    bounds = {"low": lower_bound(k, n, confidence), "high": upper_bound(k, n, confidence)}
    return {"metric": spec.metric, "min": spec.min, "max": spec.max, "k": k, "n": n, **bounds, "decision": decision}


def section(journal: Journal) -> model.Sequential:
    """What a result says of the looks of a journal, the whole of it."""
    data = journal.last("data")
    most = data["drawn"] if data else 0
    plan = design(max(most, 1))
    looks = recorded(journal)
    last = looks[-1] if looks else None
    stopped: Any = (last["stopped"] if last else None) or "interrupted"
    samples = last["samples"] if last else len(journal.keyed("clean", "index"))
    return model.Sequential(
        most=most,
        samples=samples,
        planned=plan.sizes,
        stopped=stopped,
        reason=_reason(stopped, looks, most),
        share=last["share"] if last else plan.shares[0],
        looks=tuple(
            model.Look(
                samples=look["samples"],
                share=look["share"],
                gates=tuple(model.LookGate.model_validate(gate) for gate in look["gates"]),
            )
            for look in looks
        ),
    )


def gate_words(gate: Record) -> str:
    """A gate with its bounds."""
    bounds = f" ≥ {gate['min']:g}" if gate["min"] is not None else ""
    bounds += f" ≤ {gate['max']:g}" if gate["max"] is not None else ""
    return f"{gate['metric']}{bounds}"


def _reason(stopped: str, looks: Sequence[Record], most: int) -> str:
    if not looks:
        return "it ended before the first look at its gates"
    last = looks[-1]
    ways = {"pass": "kept", "fail": "missed", "open": "open"}  # whether it passes, the whole audit decides
    found = "; ".join(f"{gate_words(gate)} {ways[gate['decision']]}" for gate in last["gates"])
    where = f"look {last['number']}, {last['samples']} of at most {counted(most, 'sample')}"
    if stopped == "decided":
        return f"decided at {where}: {found}"
    return f"{'the samples were exhausted' if stopped == 'exhausted' else 'it was ended'} after {where}: {found}"
