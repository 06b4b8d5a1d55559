"""Gradient fidelity: is the gradient that attacks follow the slope of what the file answers?"""

from __future__ import annotations

import dataclasses

import numpy as np

from robaudit.attacks.parameters import Count, Fraction, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings, leads
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["GradientFidelity"]

NOISE = 64
"""Steps of single precision, of the largest logit, within which a difference says nothing."""


@check_settings
class GradientFidelity(Check):
    """Warns where gradients and central differences of the margin disagree in sign along random directions.

    Both are taken along vectors of random signs, the differences over ``step`` to either side, which sees what a small
    change really does: a function that is flat but for cliffs, or rough as noise, has a gradient that leads nowhere.
    They are taken a little inside of each sample: on plain black or white ground the largest of equal numbers, which
    pooling takes, has a kink. Differences within rounding are not compared; where most are, the function is flat there
    and the check warns too.
    Source: Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 4 (verify that gradients are right).

    Args:
        threshold: least share of equal signs that passes.
        samples: most samples that are looked at.
        directions: random ones, the same at every sample.
        step: to either side, as a fraction of the domain's width.
        inside: most that a feature is moved towards the middle of the domain first, at random, as such a fraction.
    """

    facts = CheckFacts(
        id="gradient-fidelity",
        title="The gradient is not the slope of the model.",
        next_step="gradients do not tell where the scores go: trust black-box attacks, or give a stand-in (--stand-in)",
        cost="a gradient on each of the samples, and two answers of the twin for each direction",
        rule=CheckRule(
            "RA111",
            "CheckGradientFidelity",
            "An attack that follows a gradient which is not the slope of the scores walks at random.",
            "Trust black-box attacks, or give a differentiable stand-in (--stand-in).",
            "warning",
        ),
        ignores_attacks=True,
        usual=False,
        tells_masking=True,
    )

    threshold: Fraction = 0.9
    samples: Count = 6
    directions: Count = 32
    step: Positive = 1e-3
    inside: Positive = 4 / 255

    def measure(self, bench: Bench) -> Measured:
        """Compare signs, sample by sample."""
        from robaudit.threat.losses import loss_named

        steady = bench.target.has_gradient and not bench.target.is_random  # the differences of draws would be chance
        samples = bench.correct(self.samples) if steady else ()
        if len(samples) == 0:
            return {"samples": 0}
        shape = samples[0].u.shape
        random = np.random.default_rng(0)
        signs = random.choice([-1.0, 1.0], (self.directions, *shape))
        moves = self.inside * random.random(shape)
        samples = [dataclasses.replace(s, u=(s.u + moves * np.sign(0.5 - s.u)).astype(s.u.dtype)) for s in samples]
        slopes = bench.slopes(loss_named("margin"), samples, signs)
        equal = compared = 0
        for sample, slope in zip(samples, slopes, strict=True):
            ways = np.concatenate([sample.u + self.step * signs, sample.u - self.step * signs]).astype(sample.u.dtype)
            logits = bench.logits(ways)
            values = leads(logits, sample.label)
            difference = values[: self.directions] - values[self.directions :]
            floor = NOISE * np.finfo(np.float32).eps * np.abs(logits[np.isfinite(logits)]).max(initial=0.0)
            told = np.isfinite(difference) & (np.abs(difference) > floor)
            compared += int(told.sum())
            equal += int((np.sign(difference) == np.sign(slope))[told].sum())
        return {"samples": len(samples), "directions": self.directions, "compared": compared, "equal": equal}

    def verdict(self, measured: Measured) -> Finding:
        """Judge the share of equal signs, and of directions that say something."""
        if measured["samples"] == 0:
            return Finding("skipped", "there is no gradient, no sample to take it at, or the model is random")
        asked, compared = measured["samples"] * measured["directions"], measured["compared"]
        if 2 * compared < asked:
            text = (
                f"along {asked - compared} of {asked} random directions the scores do not move: the model is flat there"
            )
            return Finding("warn", text, compared / asked, 0.5)
        share = measured["equal"] / compared
        text = f"gradient and central differences have the same sign along {share:.1%} of {compared} random directions"
        if share < self.threshold:
            return Finding("warn", text + ": the gradient is not the slope of the scores", share, self.threshold)
        return Finding("pass", text, share, self.threshold)
