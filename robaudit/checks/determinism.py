"""Determinism: does the same input give the same answer?"""

from __future__ import annotations

from robaudit.attacks.parameters import Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.stats.chances import DRAWS

__all__ = ["Determinism"]

OFFER = "--fresh-state audits the answer that it gives first after loading"
KEPT = "--fresh-state could not undo it"


@check_settings
class Determinism(Check):
    """Fails where five repeats of an input differ by more than ``threshold``, and the file is not merely random.

    Fresh loads tell a file that keeps a state between its calls from one that is random: they answer alike. A random
    file is attacked with gradients that are means over draws, and judged on 50 answers to each point (see
    :mod:`robaudit.stats.chances`), so that it passes; one that keeps a state cannot be judged.

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
            "defense": bench.target.is_random and not bench.target.is_random_itself,
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        judged = f"it is judged on {DRAWS} answers to each point, and attacked on means over draws"
        if measured.get("defense"):
            return Finding("pass", f"the defense is random: {judged}", deviation, self.threshold)
        if not deviation <= self.threshold and measured.get("state") is False:
            text = f"the model is random (five answers to the same input differ by {deviation:.1e}): {judged}"
            return Finding("pass", text, deviation, self.threshold)
        if not deviation <= self.threshold:
            why = {
                True: "the file keeps a state between calls (loaded afresh, it repeats its answers), so that an answer "
                "depends on what was asked before; " + (KEPT if measured.get("fresh") else OFFER),
                None: "the model is random, or keeps a state between calls; it cannot be loaded again to tell which",
            }[measured.get("state")]
            return Finding(
                "fail", f"five answers to the same input differ by {deviation:.1e}: {why}", deviation, self.threshold
            )
        return Finding("pass", f"five answers to the same input differ by {deviation:.1e}", deviation, self.threshold)
