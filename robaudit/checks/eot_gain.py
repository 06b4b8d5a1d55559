"""EOT gain: does a random target hide its gradient from attacks that look at one draw?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable

__all__ = ["EotGain"]


@check_settings
class EotGain(Check):
    """Warns where gradients that are means over draws break more of a random target than those of single draws.

    The attacks of an audit follow means wherever the target is random, so that its figure allows for it; another's
    that follow single draws would be too high. Source: Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give a
    False Sense of Security", section 4.2 (expectation over transformation).

    Args:
        threshold: percentage points of the samples by which means may break more before that is beyond chance.
        samples: most samples that are looked at.
        steps: of both searches.
    """

    facts = CheckFacts(
        id="eot-gain",
        title="Chance hides the gradient from attacks that look at one draw.",
        next_step="the model is random: rely on figures of attacks that average over its draws, as this audit's do",
        cost="of a random target, a short search of gradients by single draws and one by means over draws",
        rule=CheckRule(
            "RA140",
            "CheckEotGain",
            "An attack that follows the gradient of one draw fails on the next, and a random model looks more robust "
            "than it is.",
            "Average gradients over draws.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
    )

    threshold: Percentage = 0.5
    samples: Count = 16
    steps: Count = 20

    def measure(self, bench: Bench) -> Measured:
        """Search both ways."""
        from robaudit.attacks.registry import make_attack

        if not bench.target.is_random:
            return {"random": False}
        looked = searchable(bench, "pgd", self.samples)
        attack = make_attack("pgd", {"steps": self.steps, "loss": "margin"})
        fell = []
        for one_draw in (True, False):
            results = bench.run(attack, bench.threat, looked, one_draw=one_draw) if looked else {}
            fell.append({case for case, result in results.items() if result.success})
        return {
            "random": True,
            "samples": len(looked),
            "single": len(fell[0]),
            "means": len(fell[1]),
            "gained": len(fell[1] - fell[0]),
        }

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        if not measured["random"]:
            return Finding("skipped", "the model is not random")
        n, gained = measured["samples"], measured["gained"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to search from")
        text = f"of {n} samples single draws break {measured['single']}, means over draws {measured['means']}"
        if fires(gained, n, self.threshold):
            told = f"{text}: chance hides the gradient of a single draw"
            return Finding("warn", told, gained / n, self.threshold / 100)
        return Finding("pass", text, gained / n, self.threshold / 100)
