"""Parity: does the torch twin, whose gradients are used, compute what the file computes?"""

from __future__ import annotations

import numpy as np

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["Parity"]

LEAST_AGREEMENT = 0.999
MOST_DIFFERENCE = 1e-3
MOST_POINTS = 512


class Parity(Check):
    """Fails below 99.9 % equal argmax or above a relative difference of 1e-3, on samples and final points."""

    id = "parity"

    def measure(self, bench: Bench) -> Measured:
        """Run twin and file on the samples and on what the attacks left."""
        target = bench.target
        if not target.has_gradient or target.is_its_own_twin:
            return {"own": target.is_its_own_twin}
        samples = [s.u for s in bench.correct(MOST_POINTS)]
        kept = [b.point for b in bench.breaches()[:MOST_POINTS]]
        if not samples:
            return {"own": False}
        points = np.stack([np.asarray(p, dtype=samples[0].dtype) for p in samples + kept])
        count, agreement, difference = target.parity(points)
        return {"points": count, "agreement": agreement, "difference": difference}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the two thresholds."""
        if "points" not in measured:
            reason = "the TorchScript module itself is differentiated" if measured["own"] else "there is no twin"
            return Finding("skipped", reason)
        agreement, difference = measured["agreement"], measured["difference"]
        text = (
            f"twin and file agree on {agreement:.2%} of {measured['points']} inputs, relative difference "
            f"{difference:.1e}"
        )
        if agreement < LEAST_AGREEMENT or difference > MOST_DIFFERENCE or not np.isfinite(difference):
            return Finding("fail", text + ": gradients are not those of the file", difference, MOST_DIFFERENCE)
        return Finding("pass", text, difference, MOST_DIFFERENCE)
