"""Output head: logits, or probabilities so near to 1 that losses see nothing?"""

from __future__ import annotations

import numpy as np

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["OutputHead"]

MOST = 0.01
SAMPLES = 1024
SATURATING = ("probabilities", "sigmoids")


class OutputHead(Check):
    """Warns where more than 1 % of the samples have a probability that rounds to 1 in the file's precision.

    Not where the white-box attacks take their gradient before the softmax or sigmoid, which sees past that.
    """

    id = "output-head"

    def measure(self, bench: Bench) -> Measured:
        """Count saturated probabilities among the clean answers."""
        kind = bench.target.head_kind
        samples = bench.correct(SAMPLES)
        # A gradient that is taken before the softmax sees what the probabilities hide.
        sees = bench.target.head_peeled and bench.target.has_gradient and len(bench.losses()) > 0
        found = {"kind": kind, "samples": len(samples), "sees": sees}
        if kind not in SATURATING:
            return {**found, "saturated": 0}
        return {**found, "saturated": sum(bool(np.max(s.clean) >= 1 - 1e-7) for s in samples)}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        kind, k, n = measured["kind"], measured["saturated"], measured["samples"]
        if kind not in SATURATING:
            return Finding("pass", f"the output is {kind}")
        share = k / n if n else 0.0
        text = f"the output is {kind}, {share:.1%} of them saturated at 1"
        if share > MOST and measured.get("sees"):
            seen = ": score attacks see little there, gradients are taken before it"
            return Finding("pass", text + seen, share, MOST)
        if share > MOST:
            return Finding("warn", text + ": gradients and score attacks see little there", share, MOST)
        return Finding("pass", text, share, MOST)
