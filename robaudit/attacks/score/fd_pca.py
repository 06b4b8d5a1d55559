"""Gradient estimation by finite differences along the principal components of the data."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.fitted import Artefact, FitSet, FittedSearch
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.score.difference_steps import DifferenceSteps, Stepping
from robaudit.attacks.score.objective import ScoreLoss
from robaudit.errors import UsageError

__all__ = ["FDPCA"]

COMPONENTS = "components"
CHUNK = 64
"""Samples that are loaded together."""
FLAT = 1e-12
"""Share of the largest variance below which a component is nothing but rounding."""
Several = Annotated[int, Field(ge=2)]


@attack_parameters
class FDPCA(DifferenceSteps[Stepping], FittedSearch[Stepping]):
    """Estimate the gradient by two-sided differences along the components in which the data vary most; step along it.

    The components are those of samples of the same data, apart from the audited ones. Steps go along the sign in L∞,
    along the gradient in L2.

    Source: Bhagoji, He, Li, Song 2018, "Practical Black-box Attacks on Deep Neural Networks using Efficient Query
    Mechanisms", query reduction using PCA components, in the iterative attack with the logit loss; its authors' code
    takes the components of the test images, and differences of length 0.01. Once ``steps`` steps are taken, shorter
    ones follow until the budget ends. L∞ and L2; untargeted and targeted. Cost: the fit asks nothing; then up to
    ``queries`` queries of the scores for each sample that is answered correctly: two for each component in a step, and
    one for the point itself.

    Args:
        queries: most queries a sample.
        components: at most; there are fewer than samples of the fit.
        fit_samples: most samples to take the components of.
        fit_least: fewest; where the data hold fewer beside the audited ones, the attack is unavailable.
        reach: of a difference, root mean square over all features as a fraction of the domain's width.
        steps: of equal length.
        step_size: as a share of ε.
        loss: that is climbed.
    """

    id = "fd-pca"
    family = "per sample"

    queries: Count = 10_000
    components: Count = 100
    fit_samples: Several = 1000
    fit_least: Several = 32
    reach: Positive = 0.01
    steps: Count = 10
    step_size: Positive = 0.125
    loss: ScoreLoss = "margin"

    @property
    def fit_rounds(self) -> int:
        """All at once."""
        return 1

    def most_of_fit(self, task: Task, samples: int) -> Cost:
        """The model is not asked."""
        return Cost()

    def fit_start(self, fit: FitSet) -> Artefact:
        """None yet."""
        return {COMPONENTS: fit.zeros()[None][:0]}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """From the eigenvectors of the products of samples, of which there are fewer than features.

        Raises:
            UsageError: all samples are the same.
        """
        starts = range(0, len(fit), CHUNK)
        parts = [fit.problem(range(start, min(start + CHUNK, len(fit)))).x.flatten(1) for start in starts]
        data = torch.cat(parts).double()
        data = data - data.mean(0)
        variance, vectors = torch.linalg.eigh(data @ data.T)
        wanted = variance.argsort(descending=True)[: min(self.components, len(data) - 1)]
        wanted = wanted[variance[wanted] > FLAT * variance.amax()]
        if not len(wanted):
            raise UsageError(f"the {len(data)} samples to fit on are all the same, and have no components")
        found = (vectors[:, wanted].T @ data) / variance[wanted].sqrt()[:, None]
        return {COMPONENTS: found.to(fit.zeros().dtype).reshape(-1, *fit.shape)}

    def init(self, problem: Problem) -> Stepping:
        zero = problem.full(0).long()
        return Stepping(problem.x, torch.zeros_like(problem.x), zero, zero)

    def most_directions(self, problem: Problem) -> int:
        return max(len(problem.artefact[COMPONENTS]), 1)

    def directions(self, problem: Problem, state: Stepping) -> Tensor:
        return torch.full_like(state.part, len(problem.artefact[COMPONENTS]))

    def shifts(self, problem: Problem, state: Stepping, number: Tensor) -> Tensor:
        components = problem.artefact[COMPONENTS].to(state.point)
        length = self.reach * math.sqrt(math.prod(problem.shape))
        return components[number.clamp_max(len(components) - 1)] * length
