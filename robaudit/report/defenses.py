"""What defenses buy: the list of them, and their comparison, in words, as a table, and as a page."""

from __future__ import annotations

from robaudit.audit.defenses.document import DefenseComparison
from robaudit.audit.result.document import PairedChange
from robaudit.plural import counted
from robaudit.report.several import SideBySide, broken_words, outcome_words
from robaudit.report.words import plain

__all__ = ["compared_page"]

HEADS = (
    "defense",
    "clean accuracy",
    "gain, plain attacks",
    "gain, adaptive attacks",
    "false-security index",
    "time",
    "outcome",
)


def compared_page(found: DefenseComparison) -> SideBySide:
    """The comparison, to be shown as text or HTML."""
    return SideBySide(
        found, "comparison of defenses", "What each defense buys", "a defense", HEADS, _rows(found), _notes(found)
    )


def _rows(found: DefenseComparison) -> list[list[str]]:
    """A row each defense, under ``HEADS``."""
    return [
        [
            plain(row.defense.words, 200),
            _points(row.clean),
            _points(row.plain),
            _points(row.adaptive),
            _points(row.false_security),
            "-" if row.latency is None else f"x{row.latency:.3g}",
            outcome_words(row),
        ]
        for row in found.rows
    ]


def _points(change: PairedChange) -> str:
    """A paired difference in points, with its interval."""
    if change.difference is None:
        return "-"
    return f"{100 * change.difference:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _notes(found: DefenseComparison) -> list[str]:
    """How the table is to be read, and what is to be said of single rows."""
    pairs = found.rows[0].plain.pairs if found.rows else 0
    notes = [
        f"In points of {counted(pairs, 'sample')}, paired with the model without a defense; exact intervals at "
        f"{found.confidence:.0%}, each for itself.",
        "Plain attacks: the examples made on the model without the defense, shown to the model behind it. Adaptive "
        "attacks: these, and those of an attacker who knows the defense and attacks through it"
        + (f", with {', '.join(found.added)} beside the profile's." if found.added else "."),
        "The false-security index is the plain less the adaptive gain: what plain attacks alone would feign.",
    ]
    if found.metric == "stability":
        notes.append("Without labels the answers of the model without a defense are the reference.")
    if found.bare.failed_checks:
        notes.append(
            f"Without a defense checks failed ({', '.join(found.bare.failed_checks)}): no gain can be relied on."
        )
    for row in found.rows:
        words = plain(row.defense.words, 200)
        fooled, shown = row.transferred
        fell = broken_words(row, "through it")
        notes.append(f"{words}: {fooled} of {counted(shown, 'example')} of the model without it fool it too{fell}.")
        if row.failed_checks:
            notes.append(
                f"{words}: checks failed ({', '.join(row.failed_checks)}), so that its gain is not to be relied on."
            )
        if not row.complete:
            notes.append(f"{words}: not all attacks ran to their end, so that its adaptive gain may be smaller still.")
    return notes
