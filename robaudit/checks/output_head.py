"""Output head: logits, or probabilities so near to 1 that losses see nothing?"""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count, Fraction
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["OutputHead"]

OUTSIDE = 1e-3
"""How far outside of [0, 1] rounding may carry a probability; half precision needs it."""
SATURATING = ("probabilities", "sigmoids")


@check_settings
class OutputHead(Check):
    """Warns where a share of the samples above ``threshold`` has a probability that rounds to 1 in the file's
    precision.

    Warns where several sigmoids exceed one half on a share above ``several``: such a model gives a sample several
    labels, while the audit judges by the largest score alone.
    Fails where answers that were taken for probabilities, on the first samples, turn out to be none on others.
    Not where the white-box attacks take their gradient before the softmax or sigmoid, which sees past that.

    Args:
        threshold: largest share of saturated samples that passes.
        several: largest share of samples with several classes above one half that passes.
        samples: most samples that are looked at.
    """

    facts = CheckFacts(
        id="output-head",
        title="Probabilities round to 1, which hides the gradient.",
        next_step="saturated scores blind the attacks; export the logits instead of probabilities",
        rule=CheckRule(
            "RA105",
            "CheckOutputHead",
            "A saturated softmax or sigmoid gives attacks no direction, and makes a model look more robust than it is.",
            "Export the logits instead of probabilities.",
            "warning",
        ),
    )

    threshold: Fraction = 0.01
    several: Fraction = 0.05
    samples: Count = 1024

    def measure(self, bench: Bench) -> Measured:
        """Count saturated probabilities among the clean answers."""
        kind = bench.target.head_kind
        samples = bench.correct(self.samples)
        # A gradient that is taken before the softmax sees what the probabilities hide.
        sees = bench.target.head_peeled and bench.target.has_gradient and len(bench.losses()) > 0
        found = {"kind": kind, "samples": len(samples), "sees": sees}
        if kind == "probabilities":
            two = [s.clean for s in samples if len(s.clean) == 2]  # of more, the largest decides, whatever they are
            found["outside"] = sum(bool(np.min(scores) < -OUTSIDE) for scores in two)
        if kind not in SATURATING:
            return {**found, "saturated": 0}
        found["several"] = sum(int((s.clean > 0.5).sum()) > 1 for s in samples)
        return {**found, "saturated": sum(bool(np.max(s.clean) >= 1 - 1e-7) for s in samples)}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        kind, k, n = measured["kind"], measured["saturated"], measured["samples"]
        if kind not in SATURATING:
            return Finding("pass", f"the output is {kind}")
        if outside := measured.get("outside", 0):
            text = f"the output was taken for {kind}, and {outside} of {n} answers lie outside of 0 to 1, so that what "
            text += "decides the class is not known; export the probability or the logit itself"
            return Finding("fail", text, outside / n, 0.0)
        share = k / n if n else 0.0
        text = f"the output is {kind}, {share:.1%} of them saturated at 1"
        several = measured.get("several", 0)
        if kind == "sigmoids" and several > self.several * n:
            text += f"; on {several} of {n} samples more than one of them exceeds 0.5, as if a sample had several "
            text += "labels: every figure here judges by the class with the largest score alone"
            return Finding("warn", text, several / n, self.several)
        if share > self.threshold and measured.get("sees"):
            seen = ": score attacks see little there, gradients are taken before it"
            return Finding("pass", text + seen, share, self.threshold)
        if share > self.threshold:
            return Finding("warn", text + ": gradients and score attacks see little there", share, self.threshold)
        return Finding("pass", text, share, self.threshold)
