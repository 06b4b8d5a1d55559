"""A replay in words; nothing here needs torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from robaudit.audit.replay.document import Proofs, Replay, Replayed
from robaudit.plural import counted, part_of
from robaudit.report.words import number, plain

__all__ = ["proofs_verdict", "replay_lines", "verdict"]

SHOWN = 20
"""Examples in the table, unless all are asked for; those that do not hold up come first."""
HEADS = ("sample", "attack", "original", "adversarial", "distance", "ball", "outcome")
WIDEST = 28


def replay_lines(found: Replay, *, every: bool = False, width: int | None = None) -> Iterator[str]:
    """The replay as lines of text.

    Args:
        found: the replay.
        every: list all examples.
        width: of the terminal; where the table does not fit, each example takes three lines. None: of no matter.
    """
    for line in _lines(found, every=every, width=width):
        yield from [line] if width is None else textwrap.wrap(line, width, subsequent_indent="  ") or [""]


def _lines(found: Replay, *, every: bool, width: int | None) -> Iterator[str]:
    yield f"Model     {plain(found.model)}, sha256 {found.sha256}"
    if not found.same_model:
        yield "          not the audited file: the evidence was found on another"
    kept = f"{plain(found.evidence) or 'none'}, {counted(found.count, 'example')}"
    yield f"Evidence  {kept}, sha256 {found.evidence_sha256 or '-'}"
    for name, shape in found.artefacts.items():
        yield f"Fitted    {plain(name)}, {'x'.join(map(str, shape)) or 'a number'}, in the evidence"
    yield f"Judge     {plain(found.judge)}, each input alone"
    if found.examples:
        yield ""
        rows = sorted(found.examples, key=lambda row: row.status == "fools")
        yield from _listed([_cells(found, row) for row in (rows if every else rows[:SHOWN])], width)
        if not every and len(rows) > SHOWN:
            yield f"and {len(rows) - SHOWN} more (--verbose lists all)"
    for row in found.examples:
        if row.reason is not None:
            yield f"  - {plain(row.sample)}, {plain(row.attack)}: {plain(row.reason)}"
    if found.proofs is not None:
        yield from _proof_lines(found.proofs, every=every)
    yield ""
    yield verdict(found)
    if found.proofs is not None:
        yield proofs_verdict(found.proofs)


def _proof_lines(proofs: Proofs, *, every: bool) -> Iterator[str]:
    """What became of the certificates, and those that do not hold."""
    yield ""
    yield f"Proofs    {part_of(proofs.tried, proofs.claimed, 'proof')} of the certificates carried out again"
    if proofs.reason is not None:
        yield f"          {'the others were ' if proofs.tried else ''}not proved again: {plain(proofs.reason)}"
    for lost in proofs.lost if every else proofs.lost[:SHOWN]:
        margins = f"margin {_margin(lost.claimed)} in the result, {_margin(lost.margin)} now"
        why = "" if lost.reason is None else f" ({plain(lost.reason)})"
        yield f"  - {plain(lost.sample)}, {plain(lost.certificate)}: {lost.status}, {margins}{why}"
    if not every and len(proofs.lost) > SHOWN:
        yield f"and {len(proofs.lost) - SHOWN} more (--verbose lists all)"


def _margin(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def proofs_verdict(proofs: Proofs) -> str:
    """One sentence on the certificates."""
    if not proofs.claimed:
        return "No certificate to prove again: the audit proved no sample."
    if not proofs.tried:
        return "The certificates were not proved again."
    if proofs.lost:
        return f"{len(proofs.lost)} of {counted(proofs.tried, 'proof')} do not hold."
    return f"All {proofs.tried} proofs that were carried out again hold."


def verdict(found: Replay) -> str:
    """One sentence."""
    if not found.count:
        return "Nothing to replay: the audit found no adversarial example."
    if found.holds:
        near = sum(row.nearest for row in found.examples)
        curve = f", and the {near} that the curve rests on at their distance" if near else ""
        return f"All {found.count} examples hold up: each fools the file and lies in its ball and the box{curve}."
    lost = [row.status for row in found.examples if row.status != "fools"]
    parts = ", ".join(f"{lost.count(status)} {status}" for status in dict.fromkeys(lost))
    return f"{len(lost)} of {found.count} examples do not hold up: {parts}."


def _listed(rows: list[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """A table, or blocks where it is too wide."""
    widths = [max(len(row[column]) for row in (HEADS, *rows)) for column in range(len(HEADS))]
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        for sample, attack, original, adversarial, size, ball, outcome in rows:
            yield f"{sample}: {outcome}"
            yield f"  {attack}, distance {size} of {ball}"
            yield f"  {original} became {adversarial}"
        return
    for row in (HEADS, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(found: Replay, row: Replayed) -> tuple[str, ...]:
    outcome: str = row.status
    if row.status == "fools" and row.prediction != row.recorded:
        outcome += f", otherwise than recorded ({row.recorded})"
    return (
        plain(row.sample, WIDEST),
        plain(row.attack, WIDEST),
        _class(found, row.original),
        _class(found, row.prediction),
        "-" if row.distance is None else number(row.distance),
        f"{row.norm} {'curve' if row.nearest else number(row.eps)}",
        outcome,
    )


def _class(found: Replay, index: int | None) -> str:
    if index is None:
        return "no answer"
    named = found.classes is not None and 0 <= index < len(found.classes)
    return plain(f"{index} {found.classes[index]}" if named and found.classes else index, WIDEST)
