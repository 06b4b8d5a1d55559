"""Unbounded attack: with the whole box to move in, every sample must fall."""

from __future__ import annotations

import dataclasses

from robaudit.attacks.registry import make_attack
from robaudit.checks.base import Bench, Check, Finding, Measured
from robaudit.engine.units import Sample
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

__all__ = ["Unbounded"]

SAMPLES = 32
STEPS = 50


class Unbounded(Check):
    """Fails where an attack with ε = the whole box does not break every sample of a subsample.

    With no bound any image is allowed, so a survivor shows that the attack is blind, not that the model is
    robust. Losses are tried in turn on what stands. Source: Athalye, Carlini, Wagner 2018, section 3.1;
    Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 4.

    With a goal the class asked for must be reached. Where it is not, but any other wrong class is, the gradients are
    not blind; that class may lie out of reach, and the check warns.
    """

    id = "unbounded"
    ignores_attacks = True

    def measure(self, bench: Bench) -> Measured:
        """Auto-PGD with ε = 1 in L-infinity: cross-entropy, then the margin."""
        if not bench.target.has_gradient:
            return {"samples": 0, "broken": 0}
        samples = list(bench.correct(SAMPLES))
        threat = ThreatModel(Norm.LINF, 1.0, bench.threat.goal)
        standing = self._left(bench, threat, samples)
        found = {"samples": len(samples), "broken": len(samples) - len(standing)}
        if threat.goal is Goal.TARGETED:
            found["blind"] = len(self._left(bench, dataclasses.replace(threat, goal=Goal.UNTARGETED), standing))
        return found

    def _left(self, bench: Bench, threat: ThreatModel, standing: list[Sample]) -> list[Sample]:
        for loss, restarts in (("ce", 1), ("margin", 3)):
            attack = make_attack("apgd-ce", {"steps": STEPS, "loss": loss, "restarts": restarts})
            results = bench.run(attack, threat, standing) if standing else {}
            standing = [s for s in standing if not results[s.index].success]
        return standing

    def verdict(self, measured: Measured) -> Finding:
        """Every sample must fall."""
        k, n = measured["broken"], measured["samples"]
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to try it on")
        text = f"with the whole box to move in, {k} of {n} samples fall"
        blind = measured.get("blind")
        if blind is not None:
            text = f"with the whole box to move in, {k} of {n} samples are made to answer the class asked for"
        if k < n and blind == 0:
            why = ", and the others some other wrong class: the class asked for may lie out of the attacks' reach"
            return Finding("warn", text + why, k / n, 1.0)
        if k < n:
            return Finding("fail", text + ": the gradient attacks are blind on this model", k / n, 1.0)
        return Finding("pass", text, k / n, 1.0)
