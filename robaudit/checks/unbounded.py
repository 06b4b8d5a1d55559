"""Unbounded attack: with the whole box to move in, every sample must fall."""

from __future__ import annotations

from robaudit.attacks.registry import make_attack
from robaudit.checks.base import Bench, Check, Finding, Measured
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

__all__ = ["Unbounded"]

SAMPLES = 32
STEPS = 50


class Unbounded(Check):
    """Fails where an attack with ε = the whole box does not break every sample of a subsample.

    With no bound any image is allowed, so a survivor shows that the attack is blind, not that the model is
    robust. Losses are tried in turn on what stands. Source: Athalye, Carlini, Wagner 2018, section 3.1;
    Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 4.
    """

    id = "unbounded"
    ignores_attacks = True

    def measure(self, bench: Bench) -> Measured:
        """Auto-PGD with ε = 1 in L-infinity: cross-entropy, then the margin."""
        if not bench.target.has_gradient:
            return {"samples": 0, "broken": 0}
        samples = list(bench.correct(SAMPLES))
        threat = ThreatModel(Norm.LINF, 1.0, bench.threat.goal)
        standing = samples
        for loss, restarts in (("ce", 1), ("margin", 3)):
            attack = make_attack("apgd-ce", {"steps": STEPS, "loss": loss, "restarts": restarts})
            results = bench.run(attack, threat, standing) if standing else {}
            standing = [s for s in standing if not results[s.index].success]
        return {"samples": len(samples), "broken": len(samples) - len(standing)}

    def verdict(self, measured: Measured) -> Finding:
        """Every sample must fall."""
        k, n = measured["broken"], measured["samples"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to try it on")
        text = f"with the whole box to move in, {k} of {n} samples fall"
        if k < n:
            return Finding("fail", text + ": the gradient attacks are blind on this model", k / n, 1.0)
        return Finding("pass", text, k / n, 1.0)
