"""Logit scale: are the leads so large that cross-entropy has no gradient left?"""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, leads
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["LogitScale"]

VANISHED = 87.0
"""exp(-87.3) is the smallest normal number of float32: of a class further behind the softmax is 0 there."""
ROUNDED = 16.6
"""ln(2**24): from this lead on float32 rounds the label's probability to 1, its share of the gradient to 0."""


@check_settings
class LogitScale(Check):
    """Warns where the median lead of the label in logits is so large that the gradient of cross-entropy is 0.

    Defensive distillation trains at a high temperature and answers at 1, which multiplies the logits by it: the softmax
    is then exactly 0 or 1 in float32, and attacks on cross-entropy stand still, while losses on logits do not. Sources:
    Papernot, McDaniel, Wu, Jha, Swami 2016, "Distillation as a Defense to Adversarial Perturbations against Deep Neural
    Networks"; Carlini, Wagner 2017, "Towards Evaluating the Robustness of Neural Networks" (why distillation seemed to
    work, and how it is broken).

    Args:
        threshold: largest median lead, in logits, that passes. By default that from which on the softmax of every
            other class underflows in float32.
        samples: most samples that are looked at.
    """

    facts = CheckFacts(
        id="logit-scale",
        title="Logits are so far apart that cross-entropy has no gradient.",
        next_step="attack with losses on logits (apgd-dlr, cw-l2), or divide the logits by their scale",
        cost="an answer of the twin at each of the samples",
        rule=CheckRule(
            "RA122",
            "CheckLogitScale",
            "Where the softmax is exactly 0 or 1, attacks on cross-entropy stand still, which looks like robustness.",
            "Attack with losses on logits, whose scale does not matter.",
            "warning",
        ),
        ignores_attacks=True,
        usual=False,
        tells_masking=True,
    )

    threshold: Positive = VANISHED
    samples: Count = 128

    def measure(self, bench: Bench) -> Measured:
        """The lead of the label at each sample."""
        samples = bench.correct(self.samples)
        if bench.target.has_gradient and len(samples):
            logits = np.concatenate([bench.logits(sample.u[None]) for sample in samples])
        elif bench.target.head_kind == "logits" and len(samples):
            logits = np.stack([np.asarray(sample.clean, np.float64) for sample in samples])
        else:
            return {"leads": []}
        found = [-float(leads(row[None], s.label)[0]) for row, s in zip(logits, samples, strict=True)]
        return {"leads": [lead for lead in found if np.isfinite(lead)]}

    def verdict(self, measured: Measured) -> Finding:
        """Compare the median."""
        found = measured["leads"]
        if not found:
            return Finding("skipped", "the file shows no logits, or no sample has finite ones")
        median = float(np.median(found))
        text = f"the label leads by {median:.3g} in logits (median of {len(found)} samples)"
        if median > self.threshold:
            return Finding("warn", text + ": the gradient of cross-entropy vanishes there", median, self.threshold)
        rounded = sum(lead > ROUNDED for lead in found)
        if rounded:
            text += f"; on {rounded} of them float32 rounds its probability to 1"
        return Finding("pass", text, median, self.threshold)
