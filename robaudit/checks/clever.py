"""CLEVER: how far away is the nearest adversarial example, by the steepest slopes nearby? An estimate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Clever", "end_of"]

BEYOND = tuple(np.geomspace(1e-3, 1.0, 19).tolist())
"""How far beyond the largest maximum its distribution may end, as a share of it."""
SAME = 1e-6
"""Relative spread below which all maxima are one."""
DUAL = {"linf": 1.0, "l2": 2.0, "l1": np.inf}
"""Order of the norm of gradients, by that of the ball."""


@check_settings
class Clever(Check):
    """Tells the CLEVER score, an estimate of the smallest distance at which samples fall; never a certificate.

    The lead over a rival falls no faster than its steepest slope nearby. That is estimated from random points around
    the sample: the largest gradient norm of each batch follows a reverse Weibull distribution, whose end is fitted by
    maximum likelihood, and the score is lead over slope, at most the radius of the points. With
    so few maxima as here the end is looked for between the largest and twice as much alone. Masked gradients make the
    score too large. Attacks refute it where they break a sample nearer than it says, which is counted. Sources: Weng,
    Zhang, Chen, Yi, Su, Gao, Hsieh, Daniel 2018, "Evaluating the Robustness of Neural Networks: An Extreme Value
    Theory Approach" (algorithm 1; 500 batches of 1,024 points and every rival there); Goodfellow 2018, "Gradient
    Masking Causes CLEVER to Overestimate Adversarial Perturbation Size".

    Args:
        samples: most samples that are looked at.
        batches: maxima that the distribution is fitted to.
        draws: points in a batch.
        rivals: classes that are looked at, those that come next at the sample.
        reach: radius in which points are drawn, as a multiple of the audit's; no score is larger.
    """

    facts = CheckFacts(
        id="clever",
        title="An estimate of the smallest distance, which proves nothing.",
        next_step="take it as a hint alone: attacks give upper bounds, certificates lower ones",
        cost="batches times draws times rivals gradients (3,840) at each of the samples",
        rule=CheckRule(
            "RA127",
            "CheckClever",
            "The score is often read as a lower bound, and is none.",
            "Use a certificate where a lower bound is needed.",
            "note",
        ),
        usual=False,
        on_request=True,
    )

    samples: Count = 8
    batches: Count = 20
    draws: Count = 64
    rivals: Count = 3
    reach: Positive = 4.0

    def measure(self, bench: Bench) -> Measured:
        """The score of each sample, and how near an attack came."""
        norm = str(bench.threat.norm)
        samples = bench.correct(self.samples) if bench.target.has_gradient and norm in DUAL else ()
        broken = {b.sample: b.distance for b in bench.breaches() if b.threat in (None, bench.threat)}
        found, refuted = [], 0
        for sample in samples:
            score = self._score(bench, sample.u, sample.label, sample.goal)
            if score is not None:
                found.append(score)
                refuted += broken.get(sample.index, np.inf) < score
        reach = self.reach * bench.threat.eps
        return {"norm": norm, "scores": found, "refuted": refuted, "reach": reach, "eps": bench.threat.eps}

    def _score(self, bench: Bench, u: NDArray[Any], label: int, goal: int) -> float | None:
        """In the threat model's norm; None where the answer is not finite."""
        from dataclasses import replace

        from robaudit.threat.noise import noise_within

        logits = bench.logits(u[None])[0]
        order = [c for c in np.argsort(-logits).tolist() if c != label]
        chosen = order[: self.rivals] if goal < 0 else [goal]
        if not np.isfinite(logits[[label, *chosen]]).all():
            return None
        random = np.random.default_rng(0)
        ball = replace(bench.threat, eps=self.reach * bench.threat.eps)
        steepest: NDArray[np.float64] = np.zeros((len(chosen), self.batches))
        for batch in range(self.batches):
            points = noise_within(ball, u, self.draws, random)[: self.draws]
            for place, rival in enumerate(chosen):
                weights = np.zeros(len(logits))
                weights[label], weights[rival] = 1.0, -1.0
                slopes = bench.pulled(points, lambda z, w=weights: np.broadcast_to(w, z.shape))[1]  # type: ignore[misc]
                sizes = np.linalg.norm(slopes.reshape(len(points), -1).astype(np.float64), DUAL[bench.threat.norm], 1)
                steepest[place, batch] = np.nan_to_num(sizes, nan=0.0, posinf=0.0).max(initial=0.0)
        slope = [end_of(maxima) for maxima in steepest]
        leads = logits[label] - logits[chosen]
        scores = [lead / end if end > 0 else np.inf for lead, end in zip(leads, slope, strict=True)]
        return float(min(*scores, ball.eps)) if len(scores) > 1 else float(min(scores[0], ball.eps))

    def verdict(self, measured: Measured) -> Finding:
        """The median, with what refutes it."""
        found = measured["scores"]
        if not found:
            return Finding("skipped", "there is no gradient, no dual of this norm, or no sample to take it at")
        median, eps = float(np.median(found)), measured["eps"]
        capped = sum(score >= measured["reach"] * (1 - 1e-9) for score in found)
        text = f"the CLEVER score is {median:.3g} in {measured['norm']} (median of {len(found)} samples, "
        text += f"{min(found):.3g} to {max(found):.3g}; the radius is {eps:.3g})"
        text += f", {capped} of them at its cap" if capped else ""
        text += ": an estimate, never a certificate"
        if measured["refuted"]:
            text += f"; attacks refute it on {measured['refuted']}, which they broke nearer than it says"
        return Finding("pass", text, median)


def end_of(maxima: Sequence[float] | NDArray[np.float64]) -> float:
    """The end of the reverse Weibull distribution that maxima [B] follow: between the largest and twice as much.

    For each end the other two parameters follow by maximum likelihood, and the likeliest end is taken. The likelihood
    of few maxima may grow without limit towards either side, which the two ends of the range settle.
    """
    from scipy import stats

    values = np.asarray(maxima, np.float64)
    largest = float(values.max())
    if largest <= 0 or len(values) < 3 or np.ptp(values) <= SAME * largest:
        return largest
    best, likeliest = 1.0, -np.inf
    for beyond in BEYOND:
        short = 1 + beyond - values / largest
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            shape, _, scale = stats.weibull_min.fit(short, floc=0)
            likelihood = float(stats.weibull_min.logpdf(short, shape, 0, scale).sum())
        if likelihood > likeliest:
            best, likeliest = 1 + beyond, likelihood
    return largest * best
