"""Unbounded attack: with the whole box to move in, every sample must fall."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from robaudit.attacks.parameters import Count
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.target.head.answers import OPEN, predictions

if TYPE_CHECKING:
    from robaudit.engine.units import Sample
    from robaudit.threat.model import ThreatModel

__all__ = ["Unbounded"]


@check_settings
class Unbounded(Check):
    """Fails where gradients with ε = the whole box leave samples that random draws or scores alone break.

    With no bound any image is allowed, so what stands is asked of uniform draws from the box and of Square: a sample
    that they break shows that the gradients are blind, not that the model is robust. One that they leave too lies in a
    model that hardly ever answers otherwise, or is masked for all of them, and the check warns. Losses are tried in
    turn on what stands. Source: Athalye, Carlini, Wagner 2018, section 3.1;
    Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 4.

    With a goal the class asked for must be reached. Where it is not, but any other wrong class is, the gradients are
    not blind; that class may lie out of reach, and the check warns. A mask, or another set that the attacker keeps to,
    is set aside: the question is whether gradients lead anywhere at all.

    Args:
        samples: most samples that are attacked.
        steps: of each search of gradients.
        draws: uniform draws from the box, on a sample that gradients leave.
        queries: of Square, on a sample that gradients and draws leave.
    """

    facts = CheckFacts(
        id="unbounded",
        title="Attacks fail even where any change is allowed.",
        next_step="attacks fail even without a bound, so they are blind: look for masked gradients",
        cost="up to four searches of gradients on each of the samples, twice with a goal; random draws and queries on "
        "what stands",
        rule=CheckRule(
            "RA107",
            "CheckUnbounded",
            "With no bound every input can be made to be answered wrongly, so that a survivor shows a blind attack.",
            "Look for masked gradients: operators without a useful derivative, saturation, noise.",
            "error",
        ),
        ignores_attacks=True,
        tells_masking=True,
    )

    samples: Count = 32
    steps: Count = 50
    draws: Count = 64
    queries: Count = 300

    def measure(self, bench: Bench) -> Measured:
        """Auto-PGD with ε = 1 in L-infinity: cross-entropy, then the margin."""
        from robaudit.threat.model import Goal, ThreatModel
        from robaudit.threat.norms import Norm

        if bench.guarded:
            return {"samples": 0, "broken": 0, "guarded": True}
        if not bench.target.has_gradient:
            return {"samples": 0, "broken": 0}
        samples = list(bench.correct(self.samples))
        threat = ThreatModel(Norm.LINF, 1.0, bench.threat.goal)
        standing = self._left(bench, threat, samples)
        found = {"samples": len(samples), "broken": len(samples) - len(standing)}
        if threat.goal is Goal.TARGETED:
            threat = dataclasses.replace(threat, goal=Goal.UNTARGETED)
            standing = self._left(bench, threat, standing)
            found["blind"] = len(standing)
        found["reached"] = len(standing) - len(self._unreached(bench, threat, standing))
        return found

    def _unreached(self, bench: Bench, threat: ThreatModel, standing: list[Sample]) -> list[Sample]:
        """Samples that neither uniform draws from the box nor Square make the file answer wrongly."""
        from robaudit.attacks.registry import make_attack

        if not standing:
            return []
        draws = np.random.default_rng(0).random((self.draws, *standing[0].u.shape)).astype(standing[0].u.dtype)
        inherent = [one for one in bench.threat.sets if one.inherent]
        left = []
        for sample in standing:
            points = draws
            for one in inherent:
                points = one.project(points, np.broadcast_to(sample.u, points.shape))
            classes = predictions(bench.scores(points))
            if not ((classes != sample.label) & (classes != OPEN)).any():
                left.append(sample)
        if left and bench.target.head_kind != "labels":
            results = bench.run(make_attack("square", {"queries": self.queries}), threat, left)
            left = [s for s in left if not results[s.index].success]
        return left

    def _left(self, bench: Bench, threat: ThreatModel, standing: list[Sample]) -> list[Sample]:
        from robaudit.attacks.registry import make_attack

        for loss, restarts in (("ce", 1), ("margin", 3)):
            attack = make_attack("apgd-ce", {"steps": self.steps, "loss": loss, "restarts": restarts})
            results = bench.run(attack, threat, standing) if standing else {}
            standing = [s for s in standing if not results[s.index].success]
        return standing

    def verdict(self, measured: Measured) -> Finding:
        """Every sample must fall."""
        k, n = measured["broken"], measured["samples"]
        if measured.get("guarded"):
            return Finding("skipped", "a detector may reject all that lies far from the samples")
        if n == 0:
            return Finding("skipped", "there is no gradient, or no sample to try it on")
        text = f"with the whole box to move in, {k} of {n} samples fall"
        blind = measured.get("blind")
        if blind is not None:
            text = f"with the whole box to move in, {k} of {n} samples are made to answer the class asked for"
        if k < n and blind == 0:
            why = ", and the others some other wrong class: the class asked for may lie out of the attacks' reach"
            return Finding("warn", text + why, k / n, 1.0)
        reached = measured.get("reached")
        if k < n and reached == 0:
            why = f"; {self.draws} random draws and Square leave the others as well: the model hardly ever answers "
            return Finding("warn", text + why + "otherwise, or is masked for all of them", k / n, 1.0)
        if k < n:
            found = f", and random draws or Square break {reached} of the others" if reached is not None else ""
            return Finding("fail", text + found + ": the gradient attacks are blind on this model", k / n, 1.0)
        return Finding("pass", text, k / n, 1.0)
