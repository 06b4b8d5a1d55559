"""Random: noise must not break what gradients leave."""

from __future__ import annotations

import numpy as np

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.selecting import standing
from robaudit.target.head.answers import OPEN, predictions

__all__ = ["Random"]


@check_settings
class Random(Check):
    """Warns where uniform or corner noise within the ball breaks samples that every attack left standing.

    Uniform noise fills the ball, corner noise keeps to its extreme points. Who draws at random needs no knowledge, so
    that attacks which miss what draws find are blind. Source: Athalye, Carlini, Wagner 2018, "Obfuscated Gradients Give
    a False Sense of Security", section 3.1 (random sampling finds adversarial examples).

    Args:
        samples: most samples that are looked at.
        tried: most of those that stand that are drawn around, the nearest to falling first.
        draws: of each kind of noise on each.
    """

    facts = CheckFacts(
        id="random",
        title="Random noise broke what the attacks left standing.",
        next_step="noise breaks what the attacks missed, so that they are blind there: trust none of the figures",
        cost="the draws, as queries of the file, on samples that stand",
        rule=CheckRule(
            "RA115",
            "CheckRandom",
            "Noise knows nothing of the model, so that attacks which miss what it finds see less than nothing.",
            "Look for masked gradients, and raise the budgets of black-box attacks.",
            "warning",
        ),
        usual=False,
        tells_masking=True,
    )

    samples: Count = 64
    tried: Count = 16
    draws: Count = 25

    def measure(self, bench: Bench) -> Measured:
        """Draw on what stands."""
        from robaudit.threat.model import Goal
        from robaudit.threat.noise import noise_within

        looked = bench.correct(self.samples)
        left = standing(bench, looked, self.tried)
        broken = 0
        for sample in left:
            points = noise_within(bench.threat, sample.u, self.draws, np.random.default_rng(0))
            scores = bench.scores(points)
            classes = predictions(scores)
            wrong = (classes != sample.label) & (classes != OPEN)
            if bench.threat.goal is Goal.TARGETED:
                wrong = classes == sample.goal
            broken += any(not bench.rejects(scores[place], points[place]) for place in np.flatnonzero(wrong))
        return {"samples": len(looked), "standing": len(left), "broken": broken}

    def verdict(self, measured: Measured) -> Finding:
        """Any sample that falls so warns."""
        n, left, broken = measured["samples"], measured["standing"], measured["broken"]
        if not left:
            return Finding("skipped", "no sample that was looked at still stands" if n else "there is no sample")
        of = f"{left} standing samples, the nearest of {n}"
        text = f"{self.draws} uniform and as many corner draws break {broken} of {of}"
        if broken:
            return Finding("warn", text + ": the attacks are blind there", broken / left, 0.0)
        return Finding("pass", text, 0.0, 0.0)
