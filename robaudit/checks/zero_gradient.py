"""Zero gradient: can a gradient attack see anything at all?"""

from __future__ import annotations

import numpy as np

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["ZeroGradient"]

MOST = 0.05
SAMPLES = 128


class ZeroGradient(Check):
    """Warns where a loss (CE, margin, DLR) has no gradient; fails where that blinds the audit on over 5 %.

    Blind is a sample whose gradient is zero or not finite in every loss that the audit's white-box attacks use.

    Source: Athalye, Carlini, Wagner 2018 (obfuscated gradients); Croce & Hein 2020 (AutoAttack's flag).
    """

    id = "zero-gradient"
    ignores_attacks = True

    def measure(self, bench: Bench) -> Measured:
        """Count the samples without a gradient, loss by loss."""
        samples = bench.correct(SAMPLES)
        if not bench.target.has_gradient or len(samples) == 0:
            return {"samples": 0}
        losses = ["ce", "margin"] + (["dlr"] if bench.classes >= 3 else [])
        largest = {loss: bench.gradients(loss, samples) for loss in losses}
        zero = {loss: ~(np.isfinite(found) & (found > 0)) for loss, found in largest.items()}
        used = sorted({loss for name in bench.losses() for loss in ([name] if name in zero else losses)})
        blind = np.all([zero[loss] for loss in used or losses], axis=0)
        counts = {loss: int(flags.sum()) for loss, flags in zero.items()}
        return {"samples": len(samples), "blind": int(blind.sum()), "used": used or losses, "zero": counts}

    def verdict(self, measured: Measured) -> Finding:
        """Judge by the samples that no loss in use sees; name those that some loss misses."""
        n = measured["samples"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to take it at")
        share = measured["blind"] / n
        each = ", ".join(f"{name} {k}" for name, k in measured["zero"].items())
        text = (
            f"samples without a gradient, of {n}: {each}; in every loss that the attacks use "
            f"({', '.join(measured['used'])}) {measured['blind']}"
        )
        if share > MOST:
            return Finding("fail", text + ": gradient attacks are blind there", share, MOST)
        return Finding("warn" if any(measured["zero"].values()) else "pass", text, share, MOST)
