"""Cliff: does what stands at the radius fall just beyond it?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, fires
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable

__all__ = ["Cliff"]

BEYOND = (1.0, 1.5, 2.0)


@check_settings
class Cliff(Check):
    """Warns where most of what stands at the radius falls between it and one and a half times as much.

    A model that is trained at one radius may be robust up to it and no further, so that the figure says little of an
    attacker who goes a little beyond. The fall must also be more than twice that between no perturbation and the
    radius, as a model that falls steadily has no cliff. Source: Carlini et al. 2019, "On Evaluating Adversarial
    Robustness" (accuracy as a function of the radius).

    Args:
        threshold: percentage points of the samples that may fall between the radius and 1.5 times as much.
        samples: most samples that are tried.
        steps: of the search at each radius.
    """

    facts = CheckFacts(
        id="cliff",
        title="Robust accuracy falls suddenly just beyond the radius.",
        next_step="report accuracy at several radii (curve: true), as the figure holds for this one alone",
        cost="a search of gradients at each of three radii on each of the samples",
        rule=CheckRule(
            "RA125",
            "CheckCliff",
            "Robustness that ends at the radius it was trained for is no margin of safety.",
            "Report accuracy at several radii, with curve: true.",
            "warning",
        ),
        ignores_attacks=True,
        usual=False,
        on_request=True,
    )

    threshold: Percentage = 50.0
    samples: Count = 32
    steps: Count = 30

    def measure(self, bench: Bench) -> Measured:
        """A search at each radius; what fell at a smaller one has fallen at the larger."""
        from dataclasses import replace

        from robaudit.attacks.registry import make_attack
        from robaudit.threat.norms import Norm

        samples = [replace(sample, eps=None) for sample in searchable(bench, "apgd-ce", self.samples)]
        fallen: set[int] = set()
        standing = []
        for times in BEYOND if samples else ():
            eps = bench.threat.eps * times
            threat = replace(bench.threat, eps=min(eps, 1.0) if bench.threat.norm is Norm.LINF else eps)
            left = [sample for sample in samples if sample.index not in fallen]
            attack = make_attack("apgd-ce", {"steps": self.steps, "loss": "margin"})
            results = bench.run(attack, threat, left) if left else {}
            fallen |= {index for index, result in results.items() if result.success}
            standing.append([threat.eps, len(samples) - len(fallen)])
        return {"samples": len(samples), "standing": standing}

    def verdict(self, measured: Measured) -> Finding:
        """Judge the fall from the radius to one and a half times as much."""
        n, standing = measured["samples"], measured["standing"]
        if n == 0:
            return Finding("skipped", "there is no gradient, no such search in this norm, or no sample to try it on")
        text = f"of {n} samples stand " + ", ".join(f"{k} at {eps:.3g}" for eps, k in standing)
        at, beyond = standing[0][1], standing[1][1]
        fall = at - beyond
        if fires(fall, n, self.threshold) and fall > 2 * (n - at):
            return Finding("warn", text + ": robustness ends at the radius", fall / n, self.threshold / 100)
        return Finding("pass", text, fall / n, self.threshold / 100)
