"""ReLU stability: how many units may switch within the ball?"""

from __future__ import annotations

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["ReluStability"]


@check_settings
class ReluStability(Check):
    """Tells the share of ReLUs that may switch between 0 and their input within the ball, for context: it never warns.

    Where none can, the model is linear in the ball and its lead can be computed exactly; the more can, the less a
    certificate can prove. Interval bounds tell, so that the share is an upper bound and grows from layer to layer
    whatever the model does. Source: Xiao, Tjeng, Shafiullah, Madry 2019, "Training for Faster Adversarial Robustness
    Verification via Inducing ReLU Stability".

    Args:
        samples: most samples that are looked at.
    """

    facts = CheckFacts(
        id="relu-stability",
        title="Many ReLUs can switch within the ball.",
        next_step="certificates prove little where most units can switch; nothing follows for attacks",
        cost="one pass of bounds through the graph, in float64, for each of the samples; no evaluation of the model",
        rule=CheckRule(
            "RA121",
            "CheckReluStability",
            "It says how much a certificate can hope for, and nothing of what attacks find.",
            "Train with interval bounds or for stable units, where certificates are wanted.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
    )

    samples: Count = 8

    def measure(self, bench: Bench) -> Measured:
        """Count units whose bounds hold 0."""
        samples = bench.correct(self.samples)
        found = bench.unstable(samples) if len(samples) else "no sample is answered correctly"
        if isinstance(found, str):
            return {"why": found}
        return {"samples": len(samples), "units": [[name, unstable, all_] for name, (unstable, all_) in found.items()]}

    def verdict(self, measured: Measured) -> Finding:
        """The share over all, and that of the first and the last."""
        if "why" in measured:
            return Finding("skipped", f"no bounds can be computed: {measured['why']}")
        units = measured["units"]
        if not units:
            return Finding("skipped", "the graph has no ReLU")
        unstable, total = (sum(one[place] for one in units) for place in (1, 2))
        text = f"at most {unstable / total:.1%} of the ReLUs can switch within the ball around "
        text += f"{measured['samples']} samples"
        if len(units) > 1:
            ends = (units[0], units[-1])
            text += ": " + ", ".join(f"{name} {k / n:.1%}" for name, k, n in ends)
        return Finding("pass", text + " (for context)", unstable / total)
