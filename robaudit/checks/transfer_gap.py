"""Transfer gap: how much less do attacks from other models break than those that see the file?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["TransferGap"]

WHITE = "white-box"


@check_settings
class TransferGap(Check):
    """Tells what transferred attacks fool beside what the white box does, for context: it never warns.

    Training on other models' examples lowers the first figure much more than the second, so that a claim which rests
    on transfer alone says little of an attacker who has the file. Where transfer fools *more*, gradients are masked,
    which the check black-over-white tells. It reads results and runs no attack: those of a matrix, and attacks that
    stand at the head of the cascade, saw every sample. Source: Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel
    2018, "Ensemble Adversarial Training: Attacks and Defenses".
    """

    facts = CheckFacts(
        id="transfer-gap",
        title="Transferred attacks fool far less than the white box.",
        next_step="do not take robustness against transfer for robustness",
        rule=CheckRule(
            "RA126",
            "CheckTransferGap",
            "A model that stands against transferred examples may still fall to whoever has the file.",
            "State the access of every figure; do not claim robustness by transfer alone.",
            "note",
        ),
        usual=False,
    )

    def measure(self, bench: Bench) -> Measured:
        """Read what the attacks came to."""
        return {"fooled": {key: list(found) for key, found in bench.transferred().items()}}

    def verdict(self, measured: Measured) -> Finding:
        """The best transferred attack, and the white box."""
        fooled = dict(measured["fooled"])
        white = fooled.pop(WHITE, None)
        if white is None or not fooled or not white[1]:
            text = "needs white-box attacks that ran to their end, and transferred ones on every sample (matrix: true)"
            return Finding("skipped", text)
        best = max(fooled, key=lambda key: fooled[key][0])
        gap = (white[0] - fooled[best][0]) / white[1]
        text = f"transfer fools {fooled[best][0]} of {white[1]} at most ({best}), the white box {white[0]}"
        return Finding("pass", text + f": a gap of {100 * gap:.1f} points (for context)", gap)
