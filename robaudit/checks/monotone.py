"""Monotone: a larger radius must not break fewer samples."""

from __future__ import annotations

import dataclasses
import itertools

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import doubtful
from robaudit.stats.paired import paired_lower_bound

__all__ = ["Monotone"]

SHARES = (0.5, 1.0, 2.0, 4.0)
LEAST = 3
"""Samples that must be lost before a drop is more than chance."""


@check_settings
class Monotone(Check):
    """Warns where a search of gradients breaks fewer samples at a larger radius, beyond chance.

    Radii are half to four times that of the threat model, up to the whole box. Every point of a ball lies in a
    larger one, so that a drop is the search's. Source: Carlini et al. 2019, "On Evaluating Adversarial Robustness",
    section 4 (accuracy against the radius).

    Args:
        samples: most samples that are tried.
        steps: of each search.
    """

    facts = CheckFacts(
        id="monotone",
        title="A larger radius breaks fewer samples.",
        next_step="attacks do worse with more room, a sign of masked gradients or of too few steps",
        cost="four searches of gradients on each of the samples",
        rule=CheckRule(
            "RA114",
            "CheckMonotone",
            "What lies in a ball lies in a larger one, so that an attack which then breaks less has lost its way.",
            "Look for masked gradients, and raise the steps of the white-box attacks.",
            "warning",
        ),
        usual=False,
        tells_masking=True,
    )

    samples: Count = 12
    steps: Count = 20

    def measure(self, bench: Bench) -> Measured:
        """Broken samples at each radius, and those that the radius before had and this one has not."""
        from robaudit.attacks.registry import make_attack
        from robaudit.threat.norms import Norm

        samples = doubtful(bench, "apgd-ce", self.samples)
        if not samples:
            return {"samples": 0}
        most = 1.0 if bench.threat.norm is Norm.LINF else float("inf")
        attack = make_attack("apgd-ce", {"steps": self.steps, "loss": "margin"})
        radii = list(dict.fromkeys(min(most, share * bench.threat.eps) for share in SHARES))
        found: list[set[int]] = []
        for eps in radii:
            results = bench.run(attack, dataclasses.replace(bench.threat, eps=eps), samples)
            found.append({index for index, result in results.items() if result.success})
        pairs = list(itertools.pairwise(found))
        return {
            "samples": len(samples),
            "radii": radii,
            "broken": [len(one) for one in found],
            "gained": [len(after - before) for before, after in pairs],
            "lost": [len(before - after) for before, after in pairs],
        }

    def verdict(self, measured: Measured) -> Finding:
        """A drop that chance does not explain warns."""
        n = measured["samples"]
        if n == 0:
            return Finding("skipped", "there is no gradient, no such search in this norm, or nothing stands")
        each = ", ".join(f"{k} at {eps:.4g}" for k, eps in zip(measured["broken"], measured["radii"], strict=True))
        text = f"broken of {n}: {each}"
        changes = list(zip(measured["gained"], measured["lost"], strict=True))
        worst = max([(lost - gained) / n for gained, lost in changes], default=0.0)
        drops = [lost >= LEAST and paired_lower_bound(lost, gained, n) > 0 for gained, lost in changes]
        if any(drops):
            return Finding("warn", text + ": more room breaks less, so that the search is lost", worst, 0.0)
        return Finding("pass", text, max(0.0, worst), 0.0)
