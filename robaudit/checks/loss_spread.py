"""Loss spread: do several losses together break more than the best of them?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import doubtful

__all__ = ["LossSpread"]


@check_settings
class LossSpread(Check):
    """Warns where searches with different losses break different samples, so that no single loss can be trusted.

    Each loss is tried on every sample. Source: Croce & Hein 2020, "Reliable Evaluation of Adversarial Robustness with
    an Ensemble of Diverse Parameter-free Attacks" (losses fail on different models); Carlini et al. 2019, "On
    Evaluating Adversarial Robustness", section 4.

    Args:
        threshold: percentage points by which all may exceed the best before that is beyond chance.
        samples: most samples that are tried.
        steps: of each search.
    """

    facts = CheckFacts(
        id="loss-spread",
        title="Different losses break different samples.",
        next_step="no single loss tells: attack with several, as ensemble and autoattack do",
        cost="three searches of gradients on each of the samples",
        rule=CheckRule(
            "RA117",
            "CheckLossSpread",
            "Where losses miss different samples, one that none of them breaks may fall to the next.",
            "Attack with several losses, as ensemble and autoattack do.",
            "warning",
        ),
        usual=False,
    )

    threshold: Percentage = 2.0
    samples: Count = 16
    steps: Count = 20

    def measure(self, bench: Bench) -> Measured:
        """A search with each loss."""
        from robaudit.attacks.registry import make_attack
        from robaudit.threat.losses import loss_unsuited

        samples = doubtful(bench, "apgd-ce", self.samples)
        broken: dict[str, set[int]] = {}
        for loss in ("ce", "margin", "dlr"):
            if samples and loss_unsuited(loss, bench.classes) is None:
                results = bench.run(make_attack("apgd-ce", {"steps": self.steps, "loss": loss}), bench.threat, samples)
                broken[loss] = {index for index, result in results.items() if result.success}
        union = len(set().union(*broken.values()))
        return {"samples": len(samples), "broken": {loss: len(one) for loss, one in broken.items()}, "union": union}

    def verdict(self, measured: Measured) -> Finding:
        """More than chance warns."""
        n, broken, union = measured["samples"], measured["broken"], measured["union"]
        if n == 0:
            return Finding("skipped", "there is no gradient, no such search in this norm, or nothing stands")
        more = union - max(broken.values())
        each = ", ".join(f"{loss} {k}" for loss, k in broken.items())
        text = f"broken of {n}: {each}, together {union}"
        if fires(more, n, self.threshold):
            return Finding("warn", text + ": no single loss can be trusted", more / n, self.threshold / 100)
        return Finding("pass", text, more / n, self.threshold / 100)
