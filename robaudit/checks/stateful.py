"""Stateful: does an answer change with what was asked before?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Stateful"]

STEADY = 1e-4
"""Difference between repeats above which an answer is random, or changes at once, which determinism tells."""
PART = 64
WIDTH = 0.1
"""Of the uniform noise that further queries have, end to end, as a share of the domain's width."""


@check_settings
class Stateful(Check):
    """Warns where the same inputs are answered otherwise after many further queries than before.

    A file that counts its queries, adapts to them, or refuses after many answers an attack otherwise than a user, and
    its later answers are not those that were judged. Five repeats in a row, which determinism compares, need not show
    that. The first answers of the audit are compared too: between them and the check lie all its queries. The further
    queries are the samples with noise, as an attacker's are. Source: stateful defenses, Chen, Carlini, Wagner 2020,
    "Stateful Detection of Black-Box Adversarial Attacks".

    Args:
        threshold: largest relative difference of the scores that passes.
        samples: most samples that are asked again.
        queries: further queries between.
    """

    facts = CheckFacts(
        id="stateful",
        title="Answers depend on what was asked before.",
        next_step="the file keeps a state over many calls: --fresh-state audits the answer that it gives first",
        cost="the further queries (1,000), and two more for each of the samples",
        rule=CheckRule(
            "RA123",
            "CheckStateful",
            "A model that changes with its queries is not the one that was judged, and may treat an attacker otherwise "
            "than a user.",
            "Export the file without a state, or audit it with --fresh-state.",
            "warning",
        ),
        usual=False,
        on_request=True,
    )

    threshold: Positive = 1e-3
    samples: Count = 16
    queries: Count = 1000

    def measure(self, bench: Bench) -> Measured:
        """Ask, ask much else, and ask again."""
        samples = bench.correct(self.samples)
        if len(samples) == 0 or not bench.target.repeat_deviation() <= STEADY:
            return {"samples": 0, "random": len(samples) > 0}
        points = np.stack([sample.u for sample in samples])
        first = np.stack([np.asarray(sample.clean, np.float64) for sample in samples])
        before = bench.scores(points, alone=True)
        random = np.random.default_rng(0)
        for start in range(0, self.queries, PART):
            chosen = points[random.integers(len(points), size=min(PART, self.queries - start))]
            noise = WIDTH * (random.random(chosen.shape) - 0.5)
            bench.scores((chosen + noise).clip(0, 1).astype(points.dtype))
        after = bench.scores(points, alone=True)
        labels = bench.target.head_kind == "labels"  # whose first answers are ranked by the twin
        since = _change(_chosen(first), _chosen(before)) if labels else _change(first, before)
        return {
            "samples": len(samples),
            "since": since,
            "change": _change(before, after),
            "others": int((before.argmax(1) != after.argmax(1)).sum()),
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare the larger difference."""
        n = measured["samples"]
        if n == 0:
            why = "the file answers the same input differently at once" if measured["random"] else "there is no sample"
            return Finding("skipped", why)
        since, change = measured["since"], measured["change"]
        text = f"after {self.queries} further queries the scores of {n} samples differ by {change:.1e}"
        text += f", and by {since:.1e} from the audit's first answers"
        if not max(since, change) <= self.threshold:
            text += f" ({measured['others']} in another class)" if measured["others"] else ""
            return Finding("warn", text + ": the file keeps a state", max(since, change), self.threshold)
        return Finding("pass", text, max(since, change), self.threshold)


def _chosen(scores: NDArray[Any]) -> NDArray[np.float64]:
    """[N, K] with 1 at the largest."""
    found: NDArray[np.float64] = np.eye(scores.shape[1])[scores.argmax(1)]
    return found


def _change(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Largest difference, relative to the largest finite score; of what is not finite only whether it is the same."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    scale = np.abs(one[np.isfinite(one)]).max(initial=1e-12)
    difference = np.where(same, 0.0, np.abs(np.where(same, 0.0, one) - np.where(same, 0.0, other)))
    return float(min(np.nan_to_num(difference, nan=np.inf).max(initial=0.0) / scale, 1e9))
