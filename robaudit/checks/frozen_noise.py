"""Frozen noise: does a random target's robustness go when its draws are held still?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable

__all__ = ["FrozenNoise"]


@check_settings
class FrozenNoise(Check):
    """Warns where a search breaks far more of a random target when every answer has the same draws.

    Then chance is what protects it, and not what it computes: whoever may try again gets through (see the chances to
    survive). What breaks with draws held still counts for nothing else. Source: Carlini et al. 2019, "On Evaluating
    Adversarial Robustness", section 5 (verify what randomness contributes by fixing it).

    Args:
        threshold: percentage points by which more may fall so before that is beyond chance.
        samples: most samples that are looked at, one input at a time.
        steps: of both searches.
    """

    facts = CheckFacts(
        id="frozen-noise",
        title="Chance protects the model, and not what it computes.",
        next_step="robustness is owed to chance: look at what survives repeated tries",
        cost="of a random target, a short search of gradients with draws held still, and one by means over draws",
        rule=CheckRule(
            "RA141",
            "CheckFrozenNoise",
            "Robustness that goes when the draws are held still is luck, which an attacker who tries again defeats.",
            "Look at what survives repeated tries.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
    )

    threshold: Percentage = 10
    samples: Count = 12
    steps: Count = 20

    def measure(self, bench: Bench) -> Measured:
        """Search with draws held still, and then as usual."""
        from robaudit.attacks.registry import make_attack

        if not bench.target.is_random:
            return {"random": False}
        looked = searchable(bench, "pgd", self.samples)
        attack = make_attack("pgd", {"steps": self.steps, "loss": "margin"})
        frozen = bench.search_frozen(attack, looked) if looked else {}
        right = [sample for sample in looked if sample.index in frozen]
        results = bench.run(attack, bench.threat, right) if right else {}
        drawn = {case for case, result in results.items() if result.success}
        still = {case for case, fell in frozen.items() if fell}
        return {
            "random": True,
            "samples": len(right),
            "still": len(still),
            "drawn": len(drawn),
            "gained": len(still - drawn),
        }

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        if not measured["random"]:
            return Finding("skipped", "the model is not random")
        n, gained = measured["samples"], measured["gained"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample is answered rightly with draws held still")
        text = (
            f"of {n} samples {measured['still']} fall where each answer has the same draws, {measured['drawn']} where "
            "it has its own"
        )
        if fires(gained, n, self.threshold):
            return Finding("warn", text + ": chance is what protects", gained / n, self.threshold / 100)
        return Finding("pass", text, gained / n, self.threshold / 100)
