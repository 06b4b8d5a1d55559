"""Interval bound propagation: the box around a sample, carried through the file operator by operator."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from robaudit.attacks.parameters import attack_parameters
from robaudit.certificates.base import Ball, Certifier, Proof, Question, Subject
from robaudit.certificates.intervals.calls import UnknownCallError
from robaudit.certificates.intervals.propagate import propagate
from robaudit.threat.norms import Norm

__all__ = ["Interval"]


@attack_parameters
class Interval(Certifier):
    """Carry the box of all inputs through the file, and see whether the label stays ahead of every other class.

    Source: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust
    Models" (interval bounds, and the elision of the last layer); Mirman, Gehr, Vechev 2018, "Differentiable
    Abstract Interpretation for Provably Robust Neural Networks". In L2 and L1 the ball is carried exactly through what
    is linear at the beginning, by its dual norm, and as the box around it from there on.
    What is proved holds for the file as it runs in float32, with sums in any order: every bound is widened by what
    rounding can move. It is tight for files that were trained with it and for linear ones; of others it proves little
    at the radii that attacks are run at, which says nothing of their robustness.
    Cost: one pass through the graph in float64 a sample.
    """

    id: ClassVar[str] = "interval"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.LINF, Norm.L2, Norm.L1})

    def unsuited(self, subject: Subject, ball: Ball) -> str | None:
        """An operator without bounds, or a norm without a dual."""
        if ball.norm not in self.norms:
            return f"it bounds {', '.join(sorted(self.norms))}, and the threat model is {ball.norm}"
        try:
            middle = torch.full(subject.spec.shape, 0.5, dtype=torch.float64)
            propagate(subject, subject.region(middle, Ball(ball.norm, 0.0, ball.fixed)))
        except UnknownCallError as error:
            return f"it knows no bounds of {error}"
        return None

    def prove(self, subject: Subject, question: Question, ball: Ball) -> Proof:
        """Bound the lead over each rival from below."""
        found = propagate(subject, subject.region(question.u, ball))
        if not found.finite:
            return Proof(False, -math.inf)
        weights, offsets = subject.comparison(question.label, question.rivals)
        size = float(found.bounds[found.output].size.max())
        margin = float((found.lead(weights, offsets) - subject.needed(size)).min())
        return Proof(margin > 0, margin)
