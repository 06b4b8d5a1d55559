"""Sequential audits: what the journal holds of the looks, which gates they decide, and what a result says of it.

A look is journaled when all attacks are done with its chunk of the pre-arranged order. Nothing else of the journal
counts: broken samples are finished before those that stand, so that counts of what is finished are biased.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from robaudit.audit.config.gatespecs import GateSpec
from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.threats import single_threats
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import recorded
from robaudit.audit.journal.records.attacks import AttackEnded
from robaudit.audit.journal.records.findings import LookTaken, OutcomeAtLook, PassedOver
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.tally import Tally
from robaudit.audit.plan.deciding_gates import sequential_gates
from robaudit.audit.result.sections.sequential import LookGate
from robaudit.audit.verdict.retests import LEAST, standing_of
from robaudit.stats.looks import Decision, at_share, decide, design
from robaudit.stats.rates import lower_bound, upper_bound

__all__ = ["Chunk", "chunks", "look_record"]


@dataclass(frozen=True)
class Chunk:
    """The samples that a look adds.

    Args:
        number: of the look, from 1, ``last`` that of the last one.
        size: samples drawn until then, ``before`` until the look before.
        share: of the error.
        indices: what it adds, in data order.
        passed: what was passed over until then.
    """

    number: int
    last: int
    size: int
    before: int
    share: float
    indices: list[int]
    passed: PassedOver


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
        passed = PassedOver(repeats=draw.repeats, contradictions=draw.contradictions, told=tuple(draw.notes(asked)))
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


def look_record(request: AuditRequest, journal: Journal, chunk: Chunk, begun: int) -> LookTaken:
    """The record of a look, with whether the audit ends at it (``stopped``).

    Args:
        request: with the gates.
        journal: that the chunk has been through all attacks in.
        chunk: the look's.
        begun: records in the journal before the chunk.
    """
    before = [index for look in recorded(journal)[: chunk.number - 1] for index in look.indices]
    clean = journal.keyed(CleanSample, "index")
    tally = Tally(journal, {index: clean[index] for index in sorted([*before, *chunk.indices])})
    specs = sequential_gates(request)
    radii: dict[str, float] = {part.threat.norm: part.threat.radius for part in single_threats(request.profile)}
    left = [standing_of(spec, request.earlier, radii).share for spec in specs]
    gates = [_gate(s, *_counts(s.metric, tally), chunk.share * part) for s, part in zip(specs, left, strict=True)]
    verdicts: list[tuple[str, Decision]] = [(s.level, g.decision) for s, g in zip(specs, gates, strict=True)]
    decided = ("error", "fail") in verdicts or all(decision != "open" for _, decision in verdicts)
    return LookTaken(
        number=chunk.number,
        samples=chunk.size,
        share=chunk.share,
        indices=tuple(chunk.indices),
        passed=chunk.passed,
        attacks={
            record.id: OutcomeAtLook(status=record.status, reason=record.reason, cause=record.cause)
            for record in journal.records[begun:]
            if isinstance(record, AttackEnded)
        },
        gates=tuple(gates),
        stopped="decided" if decided else "exhausted" if chunk.number == chunk.last else None,
    )


def _counts(metric: str, tally: Tally) -> tuple[int, int]:
    """Successes and samples of a gate's metric."""
    found = parse_metric(metric)
    if found.name == "clean_accuracy":
        return len(tally.correct), tally.drawn
    front = tally.fronts.get(found.norm or "")
    return tally.standing if front is None else tally.whole - len(front.broken_by), tally.audited


def _gate(spec: GateSpec, k: int, n: int, share: float) -> LookGate:
    error, confidence = 1 - spec.confidence, at_share(spec.confidence, share)
    if error * share < LEAST:  # earlier tests have spent it
        return LookGate(metric=spec.metric, min=spec.min, max=spec.max, k=k, n=n, low=0.0, high=1.0, decision="open")
    decision = decide(k, n, share, least=spec.min, most=spec.max, false_pass=error, false_fail=error)
    return LookGate(
        metric=spec.metric,
        min=spec.min,
        max=spec.max,
        k=k,
        n=n,
        low=lower_bound(k, n, confidence),
        high=upper_bound(k, n, confidence),
        decision=decision,
    )
