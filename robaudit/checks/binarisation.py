"""Binarisation: the attacks must find adversarial examples that were planted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, Percentage
from robaudit.checks.base import Bench, Check, Finding, Measured, Planted, check_settings, fires, leads
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.planting import separated
from robaudit.checks.selecting import standing

if TYPE_CHECKING:
    from robaudit.engine.units import Sample

__all__ = ["Binarisation"]

INNER = 0.95
"""Radius of the ball from whose inside points are drawn, as a share of ε: the authors' code leaves that gap."""
STEADY = 1e-4
"""Largest relative difference between two answers to one input; what answers by chance has no planted example."""

SPARSE = (
    "examples are planted in L-infinity and L2 alone; in L1 and L0 each draw changes other features, and attacks that "
    "are fit miss what it plants"
)
LOOKED = 4
"""Samples that are looked at for each that is tried, as those alone are tried that stand."""


@check_settings
class Binarisation(Check):
    """Fails where the audit's own white-box attacks miss adversarial examples that are known to exist.

    The last linear layer is cut off, and around each sample a linear classifier of the features in front of it is made
    to tell one random point on the surface of the ball, the planted example, from points within and on it. The
    profile's attacks are then to find any point of the ball that it takes for planted. A model with features of use
    can be searched so whatever it was trained for; where the attacks miss what is there, they would miss
    real examples too. Samples that stand are tried: at others nothing was missed. Where fresh random draws hit as well
    a success tells nothing, and the sample is left out. Where no linear layer ends the graph the logits are the
    features. What hides in that layer or behind it is not seen. In L1 and L0 it is skipped: attacks that are fit missed
    up to 17 of 18 examples in sound models. Source: Zimmermann, Brendel, Tramèr, Carlini 2022,
    "Increasing Confidence in Adversarial Robustness Evaluations", and the authors' code; there the other points
    are of the inside alone. Here half are of the surface, and the one most apart is planted: harder for random draws.

    Args:
        threshold: percentage of the planted examples that may be missed, before that is beyond chance.
        samples: most samples that are tried, of those that stand.
        draws: points within the ball, and on its surface, that the classifier is made from; as many decide which of
            them is planted, and show what draws find.
    """

    facts = CheckFacts(
        id="binarisation",
        title="The attacks miss adversarial examples that were planted.",
        next_step="the audit's attacks are unfit for this model: look for masked gradients, and attack with others",
        cost="features of random points, and the profile's white-box attacks on each of the samples until one succeeds",
        rule=CheckRule(
            "RA118",
            "CheckBinarisation",
            "Attacks that miss examples which are known to exist would miss others too.",
            "Look for masked gradients: operators without a useful derivative, saturation; raise the attacks' budgets.",
            "error",
        ),
        usual=False,
    )

    threshold: Percentage = 5.0
    samples: Count = 12
    draws: Count = 24

    def measure(self, bench: Bench) -> Measured:
        """Plant an example at each sample, and search."""
        if (reason := self._unsuited(bench)) is not None:
            return {"planted": 0, "reason": reason}
        keys = bench.attacks()
        looked = bench.correct(LOOKED * self.samples)
        samples = standing(bench, looked)[: self.samples]
        if not samples:
            return {"planted": 0, "reason": f"of {len(looked)} samples that were looked at none stands"}
        planted, random, cut = self._planted(bench, samples)
        found = dict.fromkeys((one.sample.index for one in planted), "")
        for key in keys:
            left = [index for index, attack in found.items() if not attack]
            if left:
                hits = bench.search_planted(key, planted, left)
                found |= {index: key for index, hit in hits.items() if hit}
        by = {key: sum(attack == key for attack in found.values()) for key in keys}
        measured = {"samples": len(samples), "planted": len(planted), "random": random, "found": by, "cut": cut}
        if not planted:
            measured["reason"] = _unplanted(len(samples), random)
        return measured

    def _unsuited(self, bench: Bench) -> str | None:
        """Why nothing can be planted, or there is nobody to search for it; None: it can."""
        from robaudit.threat.norms import Norm

        if not bench.target.has_gradient:
            return "the file has no gradient"
        if bench.threat.norm not in (Norm.LINF, Norm.L2):
            return SPARSE
        if not bench.attacks():
            return "the profile runs no white-box attack that serves two classes"
        if bench.target.is_random or bench.target.repeat_deviation() > STEADY:
            return "the file's answers change by chance, and its features with them"
        return None

    def _planted(self, bench: Bench, samples: list[Sample]) -> tuple[list[Planted], int, bool]:
        """(samples with their heads, samples at which random draws find what was planted, whether a layer was cut)."""
        heads: list[Planted] = []
        easy, cut = 0, True
        for sample in samples:
            points = self._points(bench, sample)
            features, cut = bench.features(points)
            fitted, checked, fresh = 1 + 2 * self.draws, self.draws, self.draws
            found = separated(features[: fitted + checked], range(1 + self.draws, fitted), checked)
            if found is None:
                continue
            if (features[-fresh:] @ found.weights + found.bias > 0).any():
                easy += 1
                continue
            head = Planted(sample, found.weights, found.bias)
            if _holds(bench, head, points[found.place]):
                heads.append(head)
        return self._scaled(bench, heads), easy, cut

    def _points(self, bench: Bench, sample: Sample) -> NDArray[Any]:
        """[1 + 4 * draws, *shape]: the sample; ``draws`` points within the ball; as many of its surface, of which one
        is planted; half as many of each kind; and as many again."""
        from robaudit.threat.noise import noise_within

        threat = bench.threat if sample.eps is None else dataclasses.replace(bench.threat, eps=sample.eps)
        inside = dataclasses.replace(threat, eps=INNER * threat.eps)
        random, half = np.random.default_rng(0), self.draws // 2
        parts = [sample.u[None]]
        for surface in (self.draws, half, half):
            within = surface if surface == self.draws else self.draws - half
            parts.append(noise_within(inside, sample.u, within, random)[:within])
            parts.append(noise_within(threat, sample.u, surface, random)[surface:])
        return np.concatenate(parts)

    def _scaled(self, bench: Bench, heads: list[Planted]) -> list[Planted]:
        """Heads whose lead at their samples is that of the file's own, so that losses saturate as they do on it."""
        if not heads:
            return []
        logits = bench.logits(np.stack([head.sample.u for head in heads]))
        own = [-float(leads(row[None], head.sample.label)[0]) for row, head in zip(logits, heads, strict=True)]
        usual = float(np.median([lead for lead in own if np.isfinite(lead) and lead > 0] or [1.0]))
        return [Planted(head.sample, usual * head.weights, usual * head.bias) for head in heads]

    def verdict(self, measured: Measured) -> Finding:
        """Planted examples that are missed beyond chance fail."""
        n = measured["planted"]
        if n == 0:
            return Finding("skipped", measured["reason"])
        found, limit = sum(measured["found"].values()), 1 - self.threshold / 100
        where = "the last linear layer" if measured["cut"] else "the logits, as no linear layer ends the graph"
        text = f"the attacks find {found} of {n} examples planted behind {where}"
        if measured["random"]:
            text += f"; at {measured['random']} more, random draws do, which tells nothing"
        if fires(n - found, n, self.threshold):
            return Finding("fail", f"{text}: they miss what is there", found / n, limit)
        return Finding("pass", text, found / n, limit)


def _holds(bench: Bench, head: Planted, planted: NDArray[Any]) -> bool:
    """Whether the features, asked again, have the sample clean and the planted point [*shape] planted."""
    clean, found = bench.features(np.stack([head.sample.u, planted]))[0] @ head.weights + head.bias
    return bool(clean < 0 < found)


def _unplanted(samples: int, easy: int) -> str:
    if easy:
        return "random draws find every example that is planted, so that finding it tells nothing of an attack"
    return (
        "nothing can be planted: the features hardly change in the ball, or no linear classifier tells its points apart"
    )
