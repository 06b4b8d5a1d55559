"""Zero gradient: can a gradient attack see anything at all?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["ZeroGradient"]

MOST = 0.05
SAMPLES = 128


class ZeroGradient(Check):
    """Warns for any sample whose gradient is zero in all of CE, margin and DLR; fails above 5 % of them.

    Source: Athalye, Carlini, Wagner 2018 (obfuscated gradients); Croce & Hein 2020 (AutoAttack's flag).
    """

    id = "zero-gradient"

    def measure(self, bench: Bench) -> Measured:
        """Count zero gradients loss by loss at the clean samples."""
        samples = bench.correct(SAMPLES)
        if not bench.target.has_gradient or not samples:
            return {"samples": 0}
        losses = ["ce", "margin"] + (["dlr"] if bench.classes >= 3 else [])
        zero = {loss: bench.gradients(loss, samples) == 0 for loss in losses}
        blind = zero["ce"].copy()
        for flags in zero.values():
            blind &= flags
        counts = {loss: int(flags.sum()) for loss, flags in zero.items()}
        return {"samples": len(samples), "blind": int(blind.sum()), **counts}

    def verdict(self, measured: Measured) -> Finding:
        """Judge by the samples that no loss sees; name those that some loss misses."""
        n = measured["samples"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to take it at")
        share = measured["blind"] / n
        each = ", ".join(f"{name} {measured[name]}" for name in ("ce", "margin", "dlr") if name in measured)
        text = f"samples without a gradient, of {n}: {each}; in every loss {measured['blind']}"
        if share > MOST:
            return Finding("fail", text + ": gradient attacks are blind there", share, MOST)
        partial = any(measured.get(name, 0) for name in ("ce", "margin", "dlr"))
        return Finding("warn" if partial else "pass", text, share, MOST)
