"""Parity: does the torch twin, whose gradients are used, compute what the file computes?"""

from __future__ import annotations

import itertools

import numpy as np

from robaudit.attacks.parameters import Count, Fraction, Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["Parity"]

NOISE = 10
"""Times the runtime's own noise that the twin may differ."""
CHUNK = 64


@check_settings
class Parity(Check):
    """Fails where the argmax agrees on too few samples and final points, or scores differ by more than ``threshold``.

    A file whose answers move by more than 1e-4 when ONNX Runtime leaves out its optimisations, or that is quantised
    (one step of 8 bits counts as noise), may differ by ten times that, and predictions within that noise are ties.

    Args:
        threshold: largest relative difference of the scores that passes.
        agreement: least share of equal argmax that passes.
        points: most samples that are compared, and most final points.
    """

    facts = CheckFacts(
        id="parity",
        title="The gradient is not that of the shipped file.",
        next_step="the gradient is not that of the shipped file: trust black-box attacks alone",
        cost="an answer of the file and one of its twin for each input compared, and another of the file where its own "
        "noise is measured",
        rule=CheckRule(
            "RA102",
            "CheckParity",
            "White-box attacks follow a twin of the file; where the twin answers differently they climb another hill,"
            " and what they leave standing says little.",
            "Trust black-box attacks alone, and report the file's operators.",
            "error",
        ),
    )

    threshold: Positive = 1e-3
    agreement: Fraction = 0.999
    points: Count = 192

    def measure(self, bench: Bench) -> Measured:
        """Run twin and file on the samples and on what the attacks left."""
        target = bench.target
        if not target.has_gradient or target.is_its_own_twin or target.is_random_itself:
            return {"own": target.is_its_own_twin, "random": target.is_random_itself}
        samples, kept = bench.correct(self.points), bench.breaches()[: self.points]
        points = itertools.chain((s.u for s in samples), (b.point for b in kept))
        total, equal, worst, noise = 0, 0.0, 0.0, 0.0
        while part := list(itertools.islice(points, CHUNK)):
            count, agreement, difference, floor = target.parity(np.stack(part))
            noise = max(noise, floor or 0.0)
            total += count
            equal += count * agreement
            worst = max(worst, difference) if np.isfinite(difference) else float("inf")
        if total == 0:
            return {"own": False}
        return {"points": total, "agreement": equal / total, "difference": worst, "noise": noise}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the two thresholds."""
        if "points" not in measured:
            reason = "the module in the file itself is differentiated" if measured["own"] else "no twin, or no sample"
            if measured.get("random") and not measured["own"]:
                reason = "the file is random: it and its twin draw apart"
            return Finding("skipped", reason)
        agreement, difference = measured["agreement"], measured["difference"]
        text = (
            f"twin and file agree on {agreement:.2%} of {measured['points']} inputs, relative difference "
            f"{difference:.1e}"
        )
        most = max(self.threshold, NOISE * measured.get("noise", 0.0))
        if most > self.threshold:
            text += f" (the file's own noise: {measured['noise']:.1e})"
        if agreement < self.agreement or difference > most or not np.isfinite(difference):
            return Finding("fail", text + ": gradients are not those of the file", difference, most)
        return Finding("pass", text, difference, most)
