"""Sparsity: how many of the file's weights are zero?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Sparsity"]

FEW = 3
"""Layers that are named."""


@check_settings
class Sparsity(Check):
    """Tells the share of zero weights, for context: it never warns.

    Sparse weights are claimed to make networks more robust, and adversarial training can make them sparse; a share is
    no evidence of either, and no credit is given for it. Source: Guo, Zhang, Zhang, Chen 2018, "Sparse DNNs with
    Improved Adversarial Robustness".
    """

    facts = CheckFacts(
        id="sparsity",
        title="Many weights are zero.",
        next_step="nothing follows for robustness; attack the model as any other",
        rule=CheckRule(
            "RA120",
            "CheckSparsity",
            "Zero weights are claimed to make a model more robust; the figure alone proves nothing.",
            "Trust what the attacks and certificates say.",
            "note",
        ),
        ignores_attacks=True,
        usual=False,
    )

    def measure(self, bench: Bench) -> Measured:
        """Count the zeros of each layer."""
        return {"layers": [[name, zeros, size] for name, (zeros, size) in bench.target.zero_weights().items()]}

    def verdict(self, measured: Measured) -> Finding:
        """The share, and the sparsest layers."""
        layers = measured["layers"]
        if not layers:
            return Finding("skipped", "no weights can be read from the file")
        zeros, size = (sum(layer[place] for layer in layers) for place in (1, 2))
        text = f"{zeros / size:.1%} of {size} weights in {len(layers)} layers are zero"
        ranked = sorted((layer for layer in layers if layer[1]), key=lambda layer: -layer[1] / layer[2])[:FEW]
        if ranked and len(layers) > 1:
            text += "; most in " + ", ".join(f"{name} {k / n:.1%}" for name, k, n in ranked)
        return Finding("pass", text + " (for context: no evidence of robustness)", zeros / size)
