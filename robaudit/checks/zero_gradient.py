"""Zero gradient: can a gradient attack see anything at all?"""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count, Fraction
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["ZeroGradient"]


@check_settings
class ZeroGradient(Check):
    """Fails where a white-box attack is blind on a share of the samples above ``threshold``.

    Warns where a loss that one climbs is.

    Blind is an attack on a sample where every loss that it climbs has a gradient that is zero or not finite, as the
    attack is given it: the slope of another rival stands in where the likeliest one's is zero, that of a point beside
    where the sample has none. The difference-of-logits ratio has none where its numerator hasn't, as the slope of its
    denominator alone leads away from the boundary. A sample that a white-box attack broke on the file is no blind spot,
    wherever it began.

    Source: Athalye, Carlini, Wagner 2018 (obfuscated gradients); Croce & Hein 2020 (AutoAttack's flag).

    Args:
        threshold: largest share of blind samples that does not fail.
        samples: most samples that gradients are taken at.
    """

    facts = CheckFacts(
        id="zero-gradient",
        title="Gradients vanish on part of the samples.",
        next_step="gradients vanish; do not trust white-box figures, look at the black-box attacks",
        cost="a gradient of each loss on each of the samples",
        rule=CheckRule(
            "RA106",
            "CheckZeroGradient",
            "A white-box attack without a gradient walks at random. That it breaks little is a sign of masked "
            "gradients and not of robustness.",
            "Do not trust white-box figures; look at the black-box attacks, or give a stand-in (--stand-in).",
            "error",
        ),
        tells_masking=True,
    )

    threshold: Fraction = 0.05
    samples: Count = 64

    def measure(self, bench: Bench) -> Measured:
        """Count the samples without a gradient, loss by loss and attack by attack."""
        from robaudit.threat.model import Access

        attacks = bench.losses()
        samples = bench.correct(self.samples) if attacks and bench.target.has_gradient else ()
        if len(samples) == 0:
            return {"samples": 0}
        found = {
            (name, loss): bench.gradients(loss, samples)
            for name, loss in sorted({pair for losses in attacks.values() for pair in losses.items()}, key=str)
        }
        zero = {pair: ~(np.isfinite(largest) & (largest > 0)) for pair, largest in found.items()}
        fallen = {breach.sample for breach in bench.breaches() if breach.access is Access.WHITE_BOX}
        left = np.array([sample.index not in fallen for sample in samples])
        blind = {key: left & np.all([zero[pair] for pair in losses.items()], axis=0) for key, losses in attacks.items()}
        flat: dict[str, int] = {}
        for (name, _), flags in zero.items():
            flat[name] = max(flat.get(name, 0), int(flags.sum()))
        return {"samples": len(samples), "blind": {key: int(flags.sum()) for key, flags in blind.items()}, "zero": flat}

    def verdict(self, measured: Measured) -> Finding:
        """Judge by the attack that sees least; name the losses that miss some."""
        n = measured["samples"]
        if n == 0:
            return Finding("skipped", "no attack climbs a gradient, there is none, or no sample to take it at")
        most = max(measured["blind"].values())
        each = ", ".join(f"{name} {k}" for name, k in measured["zero"].items())
        text = f"samples without a gradient, of {n}: {each}"
        if most:
            attacks = ", ".join(f"{key} {k}" for key, k in measured["blind"].items() if k)
            text += f"; in every loss that the attack climbs: {attacks}"
        if most / n > self.threshold:
            return Finding("fail", text + ": it is blind there", most / n, self.threshold)
        return Finding("warn" if any(measured["zero"].values()) else "pass", text, most / n, self.threshold)
