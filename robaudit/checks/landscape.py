"""Landscape: does the loss jump about near the samples, so that one step says nothing of the next?"""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, leads
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Landscape"]


@check_settings
class Landscape(Check):
    """Warns where the margin changes much between random points near the samples.

    The mean over samples and draws of the change of the margin relative to the margin at the sample, of uniform noise
    of ``width`` in every feature. Source: Pintor et al. 2022, "Indicators of Attack Failure: Debugging and Improving
    Optimization of Adversarial Examples" (unstable predictions: 100 draws, width 8/255, threshold 10 %), whose loss is
    the attack's; the margin and the number of draws are ours.

    Args:
        threshold: largest mean relative change that passes.
        samples: most samples that are looked at.
        draws: near each, the same at every sample.
        width: of the noise, end to end, as a fraction of the domain's width.
    """

    facts = CheckFacts(
        id="landscape",
        title="The loss jumps about near the samples.",
        next_step="the loss is rough near the samples: average gradients over draws (eot), or trust black-box attacks",
        cost="an answer of the twin for each draw near each of the samples",
        rule=CheckRule(
            "RA112",
            "CheckLandscape",
            "Where the loss jumps between neighbouring points a gradient at one of them leads nowhere.",
            "Average gradients over draws (eot), or trust black-box attacks.",
            "warning",
        ),
        ignores_attacks=True,
        usual=False,
        tells_masking=True,
    )

    threshold: Positive = 0.1
    samples: Count = 5
    draws: Count = 64
    width: Positive = 8 / 255

    def measure(self, bench: Bench) -> Measured:
        """The change near each sample."""
        steady = bench.target.has_gradient and not bench.target.is_random  # the differences of draws would be chance
        samples = bench.correct(self.samples) if steady else ()
        changes = []
        for sample in samples:
            noise = (np.random.default_rng(0).random((self.draws, *sample.u.shape)) - 0.5) * self.width
            points = np.concatenate([sample.u[None], (sample.u + noise).clip(0, 1)]).astype(sample.u.dtype)
            logits = bench.logits(points)
            margins = leads(logits, sample.label)
            if np.isfinite(margins).all() and margins[0] != 0:
                changes.append(float(np.abs(margins[1:] / margins[0] - 1).mean()))
        return {
            "samples": len(samples),
            "measured": len(changes),
            "change": float(np.mean(changes)) if changes else None,
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare the mean with the threshold."""
        change = measured["change"]
        if change is None:
            return Finding("skipped", "there is no gradient, no sample with a finite margin, or the model is random")
        text = f"the margin changes by {change:.1%} on average between points near {measured['measured']} samples"
        if change > self.threshold:
            return Finding("warn", text + ": one step says little of the next", change, self.threshold)
        return Finding("pass", text, change, self.threshold)
