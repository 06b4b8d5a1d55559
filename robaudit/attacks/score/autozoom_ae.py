"""AutoZOOM with the autoencoder: descent on what a decoder of the audit's data makes a perturbation of."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.fitted import Artefact, FitSet, FittedSearch
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.score.autoencoder import Autoencoder
from robaudit.attacks.score.descent import ADAM_EPSILON, BETA1, BETA2, Descent
from robaudit.attacks.score.vector_descent import VectorDescent

__all__ = ["AutoZOOMAE"]

MEAN, SQUARE = "mean:", "square:"
"""Before the names of a weight's moments."""
STEPS, GAIN = "steps", "gain"


@attack_parameters
class AutoZOOMAE(VectorDescent, FittedSearch[Descent]):
    """Minimise |δ|² + c max(-margin, 0) by Adam over a latent image, along random vectors; a decoder makes δ of it.

    The decoder is that of an autoencoder trained by Adam on samples of the same data, apart from the audited ones. What
    it makes of nothing is taken off, and the latent image is scaled as the perturbation is. The search is that of
    ``autozoom``.

    Source: Tu, Ting, Chen, Liu, Zhang, Yi, Hsieh, Cheng 2019, "AutoZOOM: Autoencoder-based Zeroth Order Optimization
    Method for Attacking Black-box Neural Networks", algorithm 1 with an autoencoder of convolutions as in its authors'
    code, with two halvings and rectified units; the figures of its training are ours. C x H x W images; L2; untargeted
    and targeted. Cost: the fit asks nothing; then up to ``queries`` queries of the scores for each sample that is
    answered correctly, of which a success in the ball saves the rest, unless the audit seeks smallest distances.

    Args:
        queries: most queries a sample.
        side: of the latent image at most, in pixels; a quarter of the image's where that is less.
        fit_samples: most samples to train on.
        fit_least: fewest; where the data hold fewer beside the audited ones, the attack is unavailable.
        epochs: passes over them.
        minibatch: samples of a step of the training.
        learning_rate: of the training.
        vectors: of an estimate once a point has fooled; at most as many as a request may hold.
        switch: steps after which c changes.
        first_c: the first c.
        rate: of Adam, as a fraction of the domain's width; default that of ``autozoom``.
        reach: L2 length of a difference in the latent image; default 1 over its number of features.
    """

    id = "autozoom-ae"
    family = "per sample"

    queries: Count = 20_000
    side: Count = 32
    fit_samples: Count = 1000
    fit_least: Count = 64
    epochs: Count = 20
    minibatch: Count = 32
    learning_rate: Positive = 3e-3
    vectors: Count = 1
    switch: Count = 1000
    first_c: Positive = 10.0
    rate: Positive | None = None
    reach: Positive | None = None

    def unsuited(self, classes: int, shape: tuple[int, ...]) -> str | None:
        """It is of images."""
        return None if len(shape) == 3 else "its autoencoder is of images, C x H x W"

    @property
    def fit_rounds(self) -> int:
        """One an epoch."""
        return self.epochs

    def most_of_fit(self, task: Task, samples: int) -> Cost:
        """The model is not asked."""
        return Cost()

    def _net(self, shape: tuple[int, ...]) -> Autoencoder:
        return Autoencoder(shape, self.side)

    def fit_start(self, fit: FitSet) -> Artefact:
        """Random weights."""
        like = fit.zeros()
        weights = self._net(fit.shape).begun(lambda name, shape: fit.draws.normal(name, 0, shape)[0].to(like))
        moments = {f"{kind}{name}": torch.zeros_like(w) for kind in (MEAN, SQUARE) for name, w in weights.items()}
        return weights | moments | {STEPS: torch.zeros((), dtype=torch.int64), GAIN: torch.ones_like(like.sum())}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """An epoch: every sample once, in an order of its own."""
        order, found = fit.order("epoch", number), dict(artefact)
        for start in range(0, len(order), self.minibatch):
            found = self._stepped(fit, found, fit.problem(order[start : start + self.minibatch]).x)
        images = fit.problem(order[: self.minibatch]).x
        net = self._net(fit.shape)
        latent = net.encoded(found, images)
        size = latent.square().mean().sqrt().clamp_min(1e-12)
        return found | {GAIN: net.perturbation(found, latent).square().mean().sqrt().clamp_min(1e-12) / size}

    def _stepped(self, fit: FitSet, artefact: Artefact, images: Tensor) -> dict[str, Tensor]:
        """A step of Adam on a minibatch [N, *shape]."""
        net = self._net(fit.shape)
        names = list(net.begun(lambda _, shape: torch.zeros(shape)))
        with torch.inference_mode(mode=False), torch.enable_grad():
            leaves = {name: artefact[name].clone().requires_grad_(True) for name in names}
            slopes = torch.autograd.grad(net.loss(leaves, images.clone()), list(leaves.values()))
        steps = artefact[STEPS] + 1
        scale = self.learning_rate * (1 - BETA2 ** float(steps)) ** 0.5 / (1 - BETA1 ** float(steps))
        found = dict(artefact) | {STEPS: steps}
        for name, slope in zip(names, slopes, strict=True):
            mean = artefact[MEAN + name].lerp(slope, 1 - BETA1)
            square = artefact[SQUARE + name].lerp(slope.square(), 1 - BETA2)
            found[name] = artefact[name] - scale * mean / (square.sqrt() + ADAM_EPSILON)
            found[MEAN + name], found[SQUARE + name] = mean, square
        return found

    def fit_end(self, artefact: Artefact) -> Artefact:
        """The weights of the decoder, and the gain."""
        kept = ("up1", "up2", "image", GAIN)
        return {name: value for name, value in artefact.items() if name.partition(".")[0] in kept}

    def coarse(self, problem: Problem) -> tuple[int, ...]:
        return self._net(problem.shape).latent

    def enlarged(self, problem: Problem, coarse: Tensor) -> Tensor:
        """Decoded, so that its root mean square is about that of the latent image."""
        weights = {name: value.to(coarse) for name, value in problem.artefact.items()}
        return self._net(problem.shape).perturbation(weights, coarse / weights[GAIN])
