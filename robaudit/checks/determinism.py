"""Determinism: does the same input give the same answer?"""

from __future__ import annotations

from robaudit.attacks.parameters import Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Determinism"]

OFFER = "--fresh-state audits the answer that it gives first after loading"
KEPT = "--fresh-state could not undo it"


@check_settings
class Determinism(Check):
    """Fails where five repeats of an input differ by more than ``threshold``: single answers cannot judge such a file.

    Fresh loads tell a file that keeps a state between its calls from one that is random: they answer alike.

    Args:
        threshold: largest relative difference of the scores that passes.
    """

    facts = CheckFacts(
        id="determinism",
        title="The file answers the same input differently each time.",
        next_step="the same input gets other answers: export the file in evaluation mode, without dropout, noise or a "
        "state that it keeps between calls (which --fresh-state undoes)",
        cost="nothing further: the repeats are asked when the model is loaded",
        rule=CheckRule(
            "RA103",
            "CheckDeterminism",
            "Of a random target one answer proves nothing: an adversarial example may be luck, and so may a robust "
            "one.",
            "Export the file in evaluation mode, without dropout or noise.",
            "error",
        ),
        doubts_evidence=True,
        voids_repetition=True,
    )

    threshold: Positive = 1e-4

    def measure(self, bench: Bench) -> Measured:
        """Ask five times."""
        return {
            "deviation": bench.target.repeat_deviation(),
            "state": bench.target.keeps_state(),
            "fresh": bench.target.fresh_state,
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        if not deviation <= self.threshold:
            why = {
                True: "the file keeps a state between calls (loaded afresh, it repeats its answers), so that an answer "
                "depends on what was asked before; " + (KEPT if measured.get("fresh") else OFFER),
                False: "the model is random, and a random model cannot be judged on single draws",
                None: "the model is random, or keeps a state between calls, and cannot be judged on single answers",
            }[measured.get("state")]
            return Finding(
                "fail", f"five answers to the same input differ by {deviation:.1e}: {why}", deviation, self.threshold
            )
        return Finding("pass", f"five answers to the same input differ by {deviation:.1e}", deviation, self.threshold)
