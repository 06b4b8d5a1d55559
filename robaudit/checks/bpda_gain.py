"""BPDA gain: does a smooth backward break what the true gradient left?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable, standing

__all__ = ["BpdaGain"]


@check_settings
class BpdaGain(Check):
    """Warns where a search whose gradients pass smooth stand-ins of the operators breaks samples that stand.

    Values are those of the model throughout. Where it breaks more, operators such as clips, comparisons or ReLUs that
    are off hide the gradient from all attacks that follow the true one, and their figure is too high. Source:
    Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.1 (backward pass
    differentiable approximation); the stand-ins are ours.

    Args:
        threshold: percentage points of the samples that may fall so before that is beyond chance.
        samples: most samples that are looked at.
        tried: most of those that stand that are searched, the nearest to falling first.
        steps: of the search.
    """

    facts = CheckFacts(
        id="bpda-gain",
        title="A smooth backward breaks what the true gradient left.",
        next_step="operators hide the gradient: attack by a smooth backward (apgd-ce+smooth), which the audit does by "
        "itself where it reacts",
        cost="a short search of gradients on samples that stand",
        rule=CheckRule(
            "RA119",
            "CheckBpdaGain",
            "An attack that follows a gradient which operators hide stops early, and the model looks more robust than "
            "it is.",
            "Attack by a smooth backward (apgd-ce+smooth), or by scores and labels.",
            "warning",
        ),
        usual=False,
        tells_masking=True,
    )

    threshold: Percentage = 0.5
    samples: Count = 32
    tried: Count = 8
    steps: Count = 30

    def measure(self, bench: Bench) -> Measured:
        """Search, where something stands."""
        from robaudit.attacks.registry import make_composed

        if bench.target.unsmooth is not None:
            return {"unsmooth": bench.target.unsmooth}
        looked = searchable(bench, "apgd-ce", self.samples)
        left = standing(bench, looked, self.tried)
        attack, how = make_composed("apgd-ce+smooth", {"steps": self.steps, "loss": "margin"})
        results = bench.run(attack, bench.threat, left, how) if left else {}
        broken = sum(result.success for result in results.values())
        return {"samples": len(looked), "standing": len(left), "broken": broken}

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        if (why := measured.get("unsmooth")) is not None:
            return Finding("skipped", f"there is no smooth backward: {why}")
        n, left, broken = measured["samples"], measured["standing"], measured["broken"]
        if not left:
            return Finding("skipped", "there is no such search in this norm, or nothing stands")
        text = f"{self.steps} steps by a smooth backward break {broken} of {left} standing samples, the nearest of {n}"
        if fires(broken, n, self.threshold):
            return Finding("warn", text + ": operators hide the gradient", broken / n, self.threshold / 100)
        return Finding("pass", text, broken / n, self.threshold / 100)
