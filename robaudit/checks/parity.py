"""Parity: does the torch twin, whose gradients are used, compute what the file computes?"""

from __future__ import annotations

import itertools

import numpy as np

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["Parity"]

LEAST_AGREEMENT = 0.999
MOST_DIFFERENCE = 1e-3
NOISE = 10
"""Times the runtime's own noise that the twin may differ."""
MOST_POINTS = 512
CHUNK = 64


class Parity(Check):
    """Fails below 99.9 % equal argmax or above a relative difference of 1e-3, on samples and final points.

    A file whose answers move by more than 1e-4 when ONNX Runtime leaves out its optimisations, or that is quantised
    (one step of 8 bits counts as noise), may differ by ten times that, and predictions within that noise are ties.
    """

    id = "parity"

    def measure(self, bench: Bench) -> Measured:
        """Run twin and file on the samples and on what the attacks left."""
        target = bench.target
        if not target.has_gradient or target.is_its_own_twin:
            return {"own": target.is_its_own_twin}
        samples, kept = bench.correct(MOST_POINTS), bench.breaches()[:MOST_POINTS]
        points = itertools.chain((s.u for s in samples), (b.point for b in kept))
        total, equal, worst, noise = 0, 0.0, 0.0, 0.0
        while part := list(itertools.islice(points, CHUNK)):
            count, agreement, difference, floor = target.parity(np.stack(part))
            noise = max(noise, floor or 0.0)
            total += count
            equal += count * agreement
            worst = max(worst, difference) if np.isfinite(difference) else float("inf")
        if total == 0:
            return {"own": False}
        return {"points": total, "agreement": equal / total, "difference": worst, "noise": noise}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the two thresholds."""
        if "points" not in measured:
            reason = "the module in the file itself is differentiated" if measured["own"] else "no twin, or no sample"
            return Finding("skipped", reason)
        agreement, difference = measured["agreement"], measured["difference"]
        text = (
            f"twin and file agree on {agreement:.2%} of {measured['points']} inputs, relative difference "
            f"{difference:.1e}"
        )
        most = max(MOST_DIFFERENCE, NOISE * measured.get("noise", 0.0))
        if most > MOST_DIFFERENCE:
            text += f" (the file's own noise: {measured['noise']:.1e})"
        if agreement < LEAST_AGREEMENT or difference > most or not np.isfinite(difference):
            return Finding("fail", text + ": gradients are not those of the file", difference, most)
        return Finding("pass", text, difference, most)
