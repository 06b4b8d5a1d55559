"""How a sequential audit came to its end, for the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from robaudit.audit.config.gatespecs import gate_words
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import recorded
from robaudit.audit.journal.records.findings import LookTaken
from robaudit.audit.journal.records.samples import CleanSample
from robaudit.audit.journal.records.session import DataFacts
from robaudit.audit.result import document as model
from robaudit.plural import counted
from robaudit.stats.looks import design

__all__ = ["section"]

Stopped = Literal["decided", "exhausted", "interrupted"]


def section(journal: Journal) -> model.Sequential:
    """What a result says of the looks of a journal, the whole of it."""
    data = journal.last(DataFacts)
    most = data.section.drawn if data else 0
    plan = design(max(most, 1))
    looks = recorded(journal)
    last = looks[-1] if looks else None
    stopped: Stopped = (last.stopped if last else None) or "interrupted"
    samples = last.samples if last else len(journal.keyed(CleanSample, "index"))
    return model.Sequential(
        most=most,
        samples=samples,
        planned=plan.sizes,
        stopped=stopped,
        reason=_reason(stopped, looks, most),
        share=last.share if last else plan.shares[0],
        looks=tuple(model.Look(samples=look.samples, share=look.share, gates=look.gates) for look in looks),
    )


def _reason(stopped: Stopped, looks: Sequence[LookTaken], most: int) -> str:
    if not looks:
        return "it ended before the first look at its gates"
    last = looks[-1]
    ways = {"pass": "kept", "fail": "missed", "open": "open"}  # whether it passes, the whole audit decides
    found = "; ".join(f"{gate_words(gate.model_dump())} {ways[gate.decision]}" for gate in last.gates)
    where = f"look {last.number}, {last.samples} of at most {counted(most, 'sample')}"
    if stopped == "decided":
        return f"decided at {where}: {found}"
    return f"{'the samples were exhausted' if stopped == 'exhausted' else 'it was ended'} after {where}: {found}"
