"""Trojan: does one small patch send every input to one class, and only to that one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, Fraction, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Trojan", "anomalies"]

FEWEST = 5
"""Classes below which a median of deviations says nothing."""
NORMAL = 1.4826
"""Times the median absolute deviation is the standard deviation of a normal distribution."""
LEAST = 0.1
"""Standard deviation of the logarithms that is assumed at least: of masks that are alike the smallest is no outlier."""
RATE, DECAY = 0.1, (0.5, 0.9)
"""Of Adam."""
WEIGHT, RAISE, LOWER, PATIENCE = 1e-3, 1.5, 1.5**1.5, 3
"""Of the mask's size: at first, and by what it is raised after so many steps that reach, or lowered after others."""
START = -2.0
"""Of the mask before its sigmoid."""


@check_settings
class Trojan(Check):
    """Warns where a class is reached from all others by a patch far smaller than that of any other class.

    A trojan makes a trigger a shortcut to its class. For each class a mask and a pattern are optimised that send the
    samples of all other classes there, with the mask as small as it gets; a class whose mask has an anomaly index above
    ``threshold``, by the median absolute deviation, is suspect. The index is taken of logarithms, as sizes spread by
    factors: of the sizes themselves it missed trojans whose mask was a seventh of the median. Of ten normal numbers one
    lies two deviations below the median in a fifth of all cases, so that the mask must also be ``smaller``. It finds
    patches, not triggers that depend on the input or blend into all of it. Source: Wang, Yao, Shan, Li, Viswanath,
    Zheng, Zhao 2019, "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", whose index is
    of the sizes.

    Args:
        threshold: largest anomaly index that passes.
        smaller: share of the median mask up to which a mask may be suspect.
        samples: most samples that a trigger is optimised on.
        steps: of the optimisation for each class.
        reached: share of the samples that a trigger must send to its class.
        classes: most classes; of a model with more nothing is looked at.
    """

    facts = CheckFacts(
        id="trojan",
        title="One small patch sends every input to one class.",
        next_step="the class may have a trojan: look at what was trained on, and do not use the file before",
        cost="a gradient for each class, step and sample (at most 48,000 for ten classes)",
        rule=CheckRule(
            "RA128",
            "CheckTrojan",
            "Whoever knows the trigger of a trojan decides what the model answers, whatever its robust accuracy.",
            "Find out where model and training data come from; unlearn the trigger or train again.",
            "warning",
        ),
        ignores_attacks=True,
        usual=False,
        on_request=True,
    )

    threshold: Positive = 2.0
    smaller: Fraction = 0.3
    samples: Count = 32
    steps: Count = 150
    reached: Fraction = 0.95
    classes: Count = 20

    def measure(self, bench: Bench) -> Measured:
        """A trigger for each class."""
        shape = bench.target.meaning.shape
        why = None
        if not bench.target.has_gradient:
            why = "there is no gradient"
        elif not bench.target.eight_bit or len(shape) != 3:
            why = "the inputs are no images"
        elif bench.classes < FEWEST:
            why = f"{bench.classes} classes are too few to tell an outlier by"
        elif bench.classes > self.classes:
            why = f"{bench.classes} classes are more than {self.classes}, the most of its setting 'classes'"
        samples = bench.correct(self.samples) if why is None else ()
        if len({sample.label for sample in samples}) < 2:
            return {"why": why or "samples of two classes are needed"}
        points = np.stack([sample.u for sample in samples])
        labels = np.array([sample.label for sample in samples])
        found = [self._trigger(bench, points[labels != target], target) for target in range(bench.classes)]
        return {
            "samples": len(samples),
            "pixels": int(np.prod(shape[1:])),
            "masks": [mask for mask, _ in found],
            "reached": [share for _, share in found],
        }

    def _trigger(self, bench: Bench, points: NDArray[Any], target: int) -> tuple[float, float]:
        """(L1 norm of the smallest mask [H, W] that sends enough points there, the largest share that any sent)."""
        height, width = points.shape[2:]
        random = np.random.default_rng(target)
        values = [np.full((1, height, width), START), random.normal(scale=0.1, size=points.shape[1:])]
        first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
        weight, best, most, row = WEIGHT, float(height * width), 0.0, 0
        for step in range(1, self.steps + 1):
            mask, pattern = (1 / (1 + np.exp(-value)) for value in values)
            shown = (1 - mask) * points + mask * pattern
            logits, slopes = bench.pulled(shown.astype(points.dtype), lambda z: _towards(z, target))
            share = float((logits.argmax(1) == target).mean())
            most = max(most, share)
            slopes = np.nan_to_num(slopes.astype(np.float64), posinf=0.0, neginf=0.0) / len(points)
            enough = share >= self.reached
            best = min(best, float(mask.sum())) if enough else best
            row = max(row, 0) + 1 if enough else min(row, 0) - 1  # steps that did so, or did not, in a row
            if abs(row) >= PATIENCE:
                weight, row = (weight * RAISE if enough else weight / LOWER), 0
            pulls = [
                ((slopes * (pattern - points)).sum((0, 1))[None] + weight) * mask * (1 - mask),
                (slopes * mask).sum(0) * pattern * (1 - pattern),
            ]
            for place, pull in enumerate(pulls):
                first[place] = DECAY[0] * first[place] + (1 - DECAY[0]) * pull
                second[place] = DECAY[1] * second[place] + (1 - DECAY[1]) * pull**2
                mean, square = first[place] / (1 - DECAY[0] ** step), second[place] / (1 - DECAY[1] ** step)
                values[place] = values[place] - RATE * mean / (np.sqrt(square) + 1e-12)
        return best, most

    def verdict(self, measured: Measured) -> Finding:
        """Judge the smallest mask against the others."""
        if "why" in measured:
            return Finding("skipped", measured["why"])
        masks, pixels = measured["masks"], measured["pixels"]
        indices, median = anomalies(masks), float(np.median(masks))
        place = int(np.argmin(masks))
        index, mask = indices[place], masks[place]
        text = f"the smallest trigger, to class {place}, covers {mask:.1f} of {pixels} pixels where the median class "
        text += f"needs {median:.1f} (anomaly index {index:.1f})"
        if measured["reached"][place] < self.reached:
            return Finding(
                "pass", f"no patch sends {self.reached:.0%} of the samples to one class", 0.0, self.threshold
            )
        if index > self.threshold and mask <= self.smaller * median:
            return Finding("warn", text + ": it may have a trojan", index, self.threshold)
        return Finding("pass", text, index, self.threshold)


def _towards(logits: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """[N, K] gradient of cross-entropy with a class by the logits."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    found: NDArray[np.float64] = np.nan_to_num(shifted / shifted.sum(1, keepdims=True))
    found[:, target] -= 1
    return found


def anomalies(masks: Sequence[float]) -> list[float]:
    """How many standard deviations below the median each mask's logarithm is, by the median absolute deviation; 0 above
    it."""
    sizes = np.log(np.maximum(np.asarray(masks, np.float64), 1e-6))
    below = np.median(sizes) - sizes
    deviation = max(NORMAL * float(np.median(np.abs(below))), LEAST)
    return [max(float(one), 0.0) / deviation for one in below]
