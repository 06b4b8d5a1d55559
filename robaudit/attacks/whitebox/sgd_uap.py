"""One perturbation for all inputs, by stochastic gradient ascent."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.fitted import Artefact, FitSet, FittedAttack
from robaudit.attacks.parameters import Count, Fraction, Positive, attack_parameters
from robaudit.attacks.requests import Gradient
from robaudit.threat.losses import Loss, log_odds
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm

__all__ = ["SGDUAP"]

DELTA, MOMENTUM = "perturbation", "momentum"
TINY = 1e-30
"""Below every sum of gradients that leads anywhere."""


@attack_parameters
class SGDUAP(FittedAttack):
    """One universal perturbation, fitted on other samples by minibatch ascent and added to every audited one.

    Each step goes along the sign of the gradient of the cross-entropy, summed over a minibatch of perturbed samples and
    with momentum; the loss of a sample is clamped, so that those that are fooled already do not decide the direction.
    The perturbation is kept in the ball after each step, each perturbed sample in the box. The step length falls
    linearly, so that the perturbation settles.

    Source: Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein 2020, "Universal Adversarial Training" (stochastic
    gradient ascent on a clamped loss); the numbers are our own; steps along signs as in Co, Muñoz-González, Kanthan,
    Lupu 2021, "Real-time Detection of Practical Universal Adversarial Perturbations"; momentum as in Dong et al.
    2018, eq. 6. Other than there, a feature that the box cuts off has its gradient all the same: on images with a
    flat background it else stays cut off. The samples of the fit are drawn from the same data, apart from the audited
    ones; their classes are the model's own answers. What a minibatch is does not depend on the batch size of the
    audit.
    Cost: the fit takes ``epochs`` gradients a sample of the fit, once; then 1 forward an audited sample.

    Args:
        fit_samples: most samples to fit on.
        fit_least: fewest; where the data hold fewer beside the audited ones, the attack is unavailable.
        epochs: passes over them.
        minibatch: samples of a step.
        step_size: length of the first step as a multiple of ε.
        momentum: share of the direction so far that is kept, 0: none.
        clamp: value of the cross-entropy from which on a sample counts no more.
    """

    id = "sgd-uap"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.LINF})

    fit_samples: Count = 512
    fit_least: Count = 32
    epochs: Count = 20
    minibatch: Count = 64
    step_size: Positive = 0.2
    momentum: Fraction = 0.9
    clamp: Positive = 9.0

    @property
    def fit_rounds(self) -> int:
        """One an epoch."""
        return self.epochs

    def climbs(self, classes: int) -> Mapping[str, Loss]:
        """The cross-entropy, as log-odds, whose gradient has the same direction."""
        return {"ce": log_odds}

    def most_of_fit(self, task: Task, samples: int) -> Cost:
        """A gradient a sample and epoch."""
        return Cost.gradients(samples * self.epochs)

    def fit_start(self, fit: FitSet) -> Artefact:
        """No perturbation."""
        return {DELTA: fit.zeros(), MOMENTUM: fit.zeros()}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """An epoch: every sample once, in an order of its own."""
        delta, direction, order = artefact[DELTA], artefact[MOMENTUM], fit.order("epoch", number)
        starts = range(0, len(order), self.minibatch)
        for step, start in enumerate(starts):
            problem = fit.problem(order[start : start + self.minibatch])
            gradient = self._ascent(fit, problem.project(problem.x + delta), problem)
            direction = self.momentum * direction + gradient / gradient.abs().sum().clamp_min(TINY)
            left = 1 - (number * len(starts) + step) / (self.epochs * len(starts))
            delta = (delta + self.step_size * left * fit.eps * direction.sign()).clamp(-fit.eps, fit.eps)
        return {DELTA: delta, MOMENTUM: direction}

    def _ascent(self, fit: FitSet, points: Tensor, problem: Problem) -> Tensor:
        """[*shape] sum of the gradients of the samples that the clamp does not leave out."""
        answer = fit.ask(problem, Gradient(points, loss=log_odds))
        assert answer.gradient is not None
        assert answer.loss is not None
        # the cross-entropy is the softplus of the log-odds, whose own gradient does not vanish on its way to the input
        odds = answer.loss.double()
        weight = torch.where(F.softplus(odds) < self.clamp, odds.sigmoid(), 0.0)
        weight = weight.reshape(-1, *[1] * (points.dim() - 1))
        terms = weight * answer.gradient.double()
        return torch.where(terms.isfinite(), terms, 0.0).sum(0).to(points.dtype)

    def fit_end(self, artefact: Artefact) -> Artefact:
        """The perturbation."""
        return {DELTA: artefact[DELTA]}

    def candidate(self, problem: Problem) -> Tensor:
        """The sample with the perturbation, within the box."""
        return problem.project(problem.x + problem.artefact[DELTA])
