"""Off-norm: what falls in the other norms, at radii of comparable size?"""

from __future__ import annotations

import math

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import searchable

__all__ = ["OffNorm", "comparable"]

FEATURES = 3072
CIFAR10 = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}
"""The radii that are usual together for CIFAR-10, of 3,072 features (Croce, Hein 2022)."""
GROWTH = {"linf": 0.0, "l2": 0.5, "l1": 1.0}
"""Power of the number of features with which the norm of equal changes of all features grows."""


@check_settings
class OffNorm(Check):
    """Tells what falls in the norms beside the audit's own, for context: it never warns.

    A model that is trained against one norm may stand there and fall in another, to perturbations that look no larger.
    Radii keep the proportions that are usual for CIFAR-10 (L∞ 8/255, L2 0.5, L1 12), scaled with the number of features
    as the norms of equal changes are: with its root in L2, with itself in L1. Sources: Tramèr, Boneh 2019, "Adversarial
    Training and Robustness for Multiple Perturbations"; the radii: Croce, Hein 2022, "Adversarial Robustness against
    Multiple and Single lp-Threat Models via Quick Fine-Tuning of Robust Classifiers".

    Args:
        samples: most samples that are tried.
        steps: of the search in each norm.
    """

    facts = CheckFacts(
        id="off-norm",
        title="Other norms break what stands in the audit's own.",
        next_step="audit the other norms too (the profile union), or say that robustness is claimed in one alone",
        cost="a search of gradients in each of three norms on each of the samples",
        rule=CheckRule(
            "RA124",
            "CheckOffNorm",
            "An attacker is not bound to the norm that a model was trained against.",
            "Audit the other norms too, with the profile union.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
        on_request=True,
    )

    samples: Count = 32
    steps: Count = 30

    def measure(self, bench: Bench) -> Measured:
        """A search in each norm."""
        from dataclasses import replace

        from robaudit.attacks.registry import make_attack
        from robaudit.threat.norms import Norm

        samples = [replace(sample, eps=None) for sample in searchable(bench, "apgd-ce", self.samples)]
        own, broken = str(bench.threat.norm), {}
        for norm in CIFAR10 if samples else ():
            eps = comparable(bench.threat.eps, own, norm, samples[0].u.size)
            threat = replace(bench.threat, norm=Norm(norm), eps=eps)
            results = bench.run(make_attack("apgd-ce", {"steps": self.steps, "loss": "margin"}), threat, samples)
            broken[norm] = [eps, sum(result.success for result in results.values())]
        return {"samples": len(samples), "own": own, "broken": broken}

    def verdict(self, measured: Measured) -> Finding:
        """The norm that breaks most, beside the own."""
        n, broken = measured["samples"], measured["broken"]
        if n == 0:
            return Finding("skipped", "there is no gradient, no such search in this norm, or no sample to try it on")
        own = broken[measured["own"]][1]
        gap = max(k for _, k in broken.values()) - own
        each = ", ".join(f"{norm} {eps:.3g} {k}" for norm, (eps, k) in broken.items())
        text = f"broken of {n} at comparable radii: {each}"
        text += f"; other norms break up to {gap} more" if gap else "; no other norm breaks more"
        return Finding("pass", text + " (for context: the headline is of its own norm alone)", gap / n)


def comparable(eps: float, own: str, other: str, features: int) -> float:
    """The radius in another norm that is as large as one in the own, by the proportions above; at most 1 in L∞."""
    size = {norm: usual * math.pow(features / FEATURES, GROWTH[norm]) for norm, usual in CIFAR10.items()}
    found = eps * size[other] / size[own]
    return min(found, 1.0) if other == "linf" else found
