"""The looks of a sequential audit: one chunk of samples after the other through all attacks, until the gates are
decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from robaudit.audit.config.gatespecs import gate_words
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.events import Note, Observer, Phase
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.looks import settled
from robaudit.audit.journal.records.findings import LookTaken
from robaudit.audit.session.chunks import Chunk, look_record
from robaudit.plural import counted

__all__ = ["run_looks"]


def run_looks(
    request: AuditRequest,
    plan: Iterable[Chunk],
    journal: Journal,
    attack: Callable[[Chunk], None],
    observer: Observer,
    stop: Callable[[], bool],
) -> None:
    """Take the looks that are left, up to the one that ends the audit.

    Args:
        request: with the gates.
        plan: all looks, each drawn when it is come to.
        journal: takes the looks, and holds those of earlier sessions.
        attack: carries out all attacks on a chunk, as far as they are not journaled.
        observer: notified of each look.
        stop: True ends the audit early; a look that was begun is taken up by the next session.
    """
    looks = settled(journal)
    if looks and looks[-1].stopped is not None:
        return
    for chunk in plan:
        if chunk.number <= len(looks):
            continue
        if stop():
            return
        observer(Phase(f"look {chunk.number} of at most {chunk.last}", f"samples {chunk.before + 1} to {chunk.size}"))
        begun = len(journal.records)
        attack(chunk)
        if stop():
            return
        record = look_record(request, journal, chunk, begun)
        journal.append(record)
        observer(Note(_words(record), "info"))
        if record.stopped is not None:
            return


def _words(record: LookTaken) -> str:
    found = [
        f"{gate_words(g.model_dump())}: {g.k} of {g.n}, {g.low:.1%} to {g.high:.1%}: {g.decision}" for g in record.gates
    ]
    return f"look {record.number}, {counted(record.samples, 'sample')}: {'; '.join(found)}"
