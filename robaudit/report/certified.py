"""What was proved, in words: a line for the bracket, and one for each certifier."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.result.document import Certificate, Result
from robaudit.audit.verdict.phrases import NORM_SIGNS
from robaudit.plural import part_of
from robaudit.report.sentences import withheld_words
from robaudit.report.words import duration, number, rate_words

__all__ = ["HEADS", "bracket_words", "certificate_rows", "lines", "proved_words"]

HEADS = ("certificate", "ball", "status", "proved of tried", "time")


def proved_words(result: Result) -> str | None:
    """The lower bound with its counts; None where nothing was to be proved, or the figure may not be quoted."""
    section = result.certified
    if section is None or (withheld_words(result) is not None and result.verdict.status == "withheld"):
        return None
    return f"at least {rate_words(section.lower_bound)}"


def bracket_words(result: Result) -> str | None:
    """Between what is proved and what attacks left the truth on these samples lies."""
    section, worst = result.certified, result.worst_case.robust_accuracy or result.worst_case.stability
    if section is None or worst is None:
        return None
    proved = section.lower_bound
    return (
        f"certified {proved.k} of {proved.n} <= true <= attacked {worst.k} of {worst.n}, on these samples: "
        f"{worst.k - proved.k} are neither proved nor broken"
    )


def certificate_rows(result: Result) -> list[tuple[str, str, str, str, str]]:
    """A row a certifier: its id, ball, status with its reason, what it proved, and how long it took."""
    section = result.certified
    return [] if section is None else [_row(entry) for entry in section.certificates]


def _row(entry: Certificate) -> tuple[str, str, str, str, str]:
    status = entry.status + (f": {entry.reason}" if entry.reason else "")
    proved = part_of(entry.proved, entry.tried, "sample") if entry.tried else "-"
    ball = f"{NORM_SIGNS[entry.norm]} ≤ {number(entry.eps)}"
    return entry.id, ball, status, proved, duration(entry.seconds) if entry.tried else "-"


def lines(result: Result) -> Sequence[str]:
    """All of it, a line each."""
    section = result.certified
    if section is None:
        return []
    found = [text for text in (proved_words(result), bracket_words(result)) if text]
    found += [": ".join((f"{row[0]} in {row[1]}", ", ".join(row[2:]))) for row in certificate_rows(result)]
    return [*found, f"Proved means: {section.statement}."]
