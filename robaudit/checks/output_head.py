"""Output head: logits, or probabilities so near to 1 that losses see nothing?"""

from __future__ import annotations

import numpy as np

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["OutputHead"]

MOST = 0.01
SAMPLES = 1024


class OutputHead(Check):
    """Warns where more than 1 % of the samples have a probability that rounds to 1 in the file's precision."""

    id = "output-head"

    def measure(self, bench: Bench) -> Measured:
        """Count saturated probabilities among the clean answers."""
        kind = bench.target.head_kind
        samples = bench.correct(SAMPLES)
        if kind != "probabilities":
            return {"kind": kind, "saturated": 0, "samples": len(samples)}
        saturated = sum(bool(np.max(s.clean) >= 1 - 1e-7) for s in samples)
        return {"kind": kind, "saturated": saturated, "samples": len(samples)}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        kind, k, n = measured["kind"], measured["saturated"], measured["samples"]
        if kind != "probabilities":
            return Finding("pass", f"the output is {kind}")
        share = k / n if n else 0.0
        text = f"the output is probabilities, {share:.1%} of them saturated at 1"
        if share > MOST:
            return Finding("warn", text + ": gradients and score attacks see little there", share, MOST)
        return Finding("pass", text, share, MOST)
