"""One step: a single step must not break what many steps leave."""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import doubtful

__all__ = ["OneStep"]


@check_settings
class OneStep(Check):
    """Warns where one step of the gradient breaks samples that a search of many steps leaves standing.

    The search of many steps is asked about the samples alone that fell to one. Source: Athalye, Carlini, Wagner 2018,
    "Obfuscated Gradients Give a False Sense of Security", section 3.1.

    Args:
        threshold: percentage points of the samples that may fall so before that is beyond chance.
        samples: most samples that are tried.
        steps: of the longer search.
    """

    facts = CheckFacts(
        id="one-step",
        title="One step breaks what many steps leave.",
        next_step="one step did better than many, a sign of masked gradients: raise black-box budgets",
        cost="a gradient on each of the samples, and a search on those that fall to it",
        rule=CheckRule(
            "RA113",
            "CheckOneStep",
            "A search of many steps can end where its first one led, so that this is a sign of masked gradients.",
            "Raise the budgets of black-box attacks, and look for what masks the gradient.",
            "warning",
        ),
        usual=False,
        tells_masking=True,
    )

    threshold: Percentage = 0.5
    samples: Count = 32
    steps: Count = 40

    def measure(self, bench: Bench) -> Measured:
        """One step, then many on what fell."""
        from robaudit.attacks.registry import make_attack

        samples = doubtful(bench, "fgsm", self.samples)
        one = bench.run(make_attack("fgsm", {}), bench.threat, samples) if samples else {}
        fallen = [s for s in samples if one[s.index].success]
        search = make_attack("apgd-ce", {"steps": self.steps})
        many = bench.run(search, bench.threat, fallen) if fallen else {}
        missed = sum(not result.success for result in many.values())
        return {"samples": len(samples), "one": len(fallen), "missed": missed}

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        n, one, missed = measured["samples"], measured["one"], measured["missed"]
        if n == 0:
            return Finding("skipped", "there is no gradient, no single step in this norm, or nothing stands")
        text = f"of {n} samples one step breaks {one}, and {self.steps} steps miss {missed} of these"
        if fires(missed, n, self.threshold):
            return Finding("warn", text + ": the gradients may be masked", missed / n, self.threshold / 100)
        return Finding("pass", text, missed / n, self.threshold / 100)
