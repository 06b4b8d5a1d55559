"""Convergence: would attacks with more steps and restarts break more?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable, standing

__all__ = ["Convergence"]


@check_settings
class Convergence(Check):
    """Warns where a longer search with more restarts breaks samples that all attacks of the audit left standing.

    The figure then still falls with the attacks' budgets, and is not yet that of the model. Source: Carlini et al.
    2019, "On Evaluating Adversarial Robustness", section 4 (attacks must have converged).

    Args:
        threshold: percentage points of the samples that may fall so before that is beyond chance.
        samples: most samples that are looked at.
        tried: most of those that stand that are searched, the nearest to falling first.
        steps: of the search.
        restarts: of it.
    """

    facts = CheckFacts(
        id="convergence",
        title="A longer search breaks more.",
        next_step="the figure still falls with the attacks' budgets: take a stronger profile, such as thorough",
        cost="a long search of gradients on samples that stand",
        rule=CheckRule(
            "RA116",
            "CheckConvergence",
            "An attack that is stopped early makes a model look more robust than it is.",
            "Take a stronger profile, such as thorough, or raise the steps and restarts of the white-box attacks.",
            "warning",
        ),
        usual=False,
        tells_masking=True,
    )

    threshold: Percentage = 0.5
    samples: Count = 32
    tried: Count = 8
    steps: Count = 100
    restarts: Count = 2

    def measure(self, bench: Bench) -> Measured:
        """Search on, where something stands."""
        from robaudit.attacks.registry import make_attack

        looked = searchable(bench, "apgd-ce", self.samples)
        left = standing(bench, looked, self.tried)
        attack = make_attack("apgd-ce", {"steps": self.steps, "restarts": self.restarts, "loss": "margin"})
        results = bench.run(attack, bench.threat, left) if left else {}
        broken = sum(result.success for result in results.values())
        return {"samples": len(looked), "standing": len(left), "broken": broken}

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        n, left, broken = measured["samples"], measured["standing"], measured["broken"]
        if not left:
            return Finding("skipped", "there is no gradient, no such search in this norm, or nothing stands")
        of = f"{left} standing samples, the nearest of {n}"
        text = f"{self.steps} steps from {self.restarts} starts break {broken} of {of}"
        if fires(broken, n, self.threshold):
            return Finding("warn", text + ": the attacks had not converged", broken / n, self.threshold / 100)
        return Finding("pass", text, broken / n, self.threshold / 100)
