"""The verdict of an audit: one word that says what is known, the same in every report."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import model_validator

from robaudit.audit.result.sections.base import Section

__all__ = ["MEANINGS", "Verdict", "VerdictStatus"]

VerdictStatus: TypeAlias = Literal[
    "measured",
    "assumed input",
    "passed",
    "failed",
    "undecided",
    "withheld",
    "incomplete",
    "interrupted",
    "invalid",
]

MEANINGS: dict[VerdictStatus, str] = {
    "measured": "The audit ran to its end and none of its checks failed; no gate on the model counts toward the "
    "verdict, so it does not say whether the figures are good enough.",
    "assumed input": "What the input means was assumed, not stated: the figures may be those of another model than the "
    "one in use, and no gate on the model can pass.",
    "passed": "Every gate that is neither excepted nor a mere warning passed, at least one of them on the model.",
    "failed": "A gate on the model failed.",
    "undecided": "A gate on the model neither passed nor failed on the samples that were audited.",
    "withheld": "A check of the audit failed, or no sample could be audited: the audit cannot vouch for its figures.",
    "incomplete": "Not everything that was planned was carried out: the figures are not final.",
    "interrupted": "The audit was stopped before its end: the figures are not final.",
    "invalid": "A gate could not be judged, or one on the audit itself failed.",
}
"""What each status means, in one sentence. The status in capitals is the word that reports show."""


class Verdict(Section):
    """What it comes to."""

    status: VerdictStatus
    """What is known: measured (no gate on the model counts); assumed input (what the input means was guessed); passed
    (a gate on the model did, and none that counts did not); failed; undecided (too few samples for a gate); withheld
    (a check failed, so no headline); incomplete; interrupted; invalid (a gate could not be judged)."""
    word: str = ""
    """The status as every report shows it, in capitals."""
    meaning: str = ""
    """What the status means, in one sentence."""
    headline: str
    """One sentence."""
    reasons: tuple[str, ...] = ()
    """Why the status is what it is."""
    next_steps: tuple[str, ...] = ()
    """What to do next."""
    exit_code: int
    """Exit code of the process."""
    judged: str | None = None
    """Day (UTC) on which exceptions to gates were judged, ISO 8601; null where no gate has one."""

    @model_validator(mode="before")
    @classmethod
    def _in_words(cls, content: Any) -> Any:
        """Word and meaning follow from the status, whatever a file says."""
        if not isinstance(content, dict) or content.get("status") not in MEANINGS:
            return content
        status: VerdictStatus = content["status"]
        return content | {"word": status.upper(), "meaning": MEANINGS[status]}
