"""Local intrinsic dimensionality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.detectors.base import Arrays, Detector, Samples, SlopeView, View
from robaudit.detectors.neighbours import kept, listed, squared, squared_of, stored
from robaudit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LocalDimension", "dimension", "logistic"]

TINY = 1e-12
MOST = 1e4
"""The largest dimension that is told: neighbours at nearly one distance have any."""
STEPS = 10
"""Of the attack that makes the adversarial examples of the fit."""


@attack_parameters
class LocalDimension(Detector):
    """Estimates in how many dimensions an input's nearest clean samples lie around it, by the features of named nodes.

    Adversarial examples lie where more dimensions meet. The maximum likelihood estimate of each node, from the
    distances to the nearest samples, goes into a logistic regression, which is fitted on the spot: clean samples, and
    the same with noise, against adversarial examples of the same size, made in 10 sign steps. The suspicion is its
    linear part. Half of the samples are the neighbours, the other half the regression's; the file needs a gradient to
    be attacked with, and nodes are named in ONNX files alone. Its own gradient is exact. Source: Ma, Li, Wang, Erfani,
    Wijewickrema, Schoenebeck, Song, Houle, Bailey 2018, "Characterizing Adversarial Subspaces Using Local Intrinsic
    Dimensionality".

    Args:
        nodes: names of nodes or tensors of the graph, with semicolons between; none: the last linear layer's input.
        neighbours: whose distances are taken.
        samples: most clean ones that it is fitted on.
        eps: largest change of a feature in the adversarial examples of the fit, a fraction of the domain's width.
    """

    id = "lid"
    least = 60

    nodes: str = ""
    neighbours: Count = 20
    samples: Count = 400
    eps: Positive = 0.1

    @property
    def fit_samples(self) -> int:
        """Neighbours and those of the regression."""
        return self.samples

    def fit(self, samples: Samples, view: View, slope: SlopeView | None) -> Arrays:
        """The neighbours' features, and the regression."""
        half = len(samples.points) // 2
        if half <= self.neighbours:
            raise UsageError(
                f"the detector lid takes the distances to {self.neighbours} neighbours, and there are {half} samples "
                "to search them among (give more data, or fewer neighbours)"
            )
        if slope is None:
            raise UsageError("the detector lid is fitted on adversarial examples, and the model has no gradient")
        clean, labels = samples.points[half:], samples.labels[half:]
        attacked = _attacked(clean, labels, slope, self.eps)
        signs = np.random.default_rng(0).integers(0, 2, clean.shape) * 2 - 1
        noisy = np.clip(clean + (self.eps * signs).astype(clean.dtype), 0, 1)
        known = [one.astype(np.float32).astype(np.float64) for one in view.features(samples.points[:half], self._nodes)]
        rows = [self._dimensions(view.features(points, self._nodes), known) for points in (clean, noisy, attacked)]
        inputs = np.concatenate(rows)
        wrong = np.repeat([0.0, 0.0, 1.0], len(clean))
        centre, scale = inputs.mean(0), np.maximum(inputs.std(0), TINY)
        weights = logistic((inputs - centre) / scale, wrong)
        return {**stored(known), "centre": centre, "scale": scale, "weights": weights}

    @property
    def _nodes(self) -> tuple[str, ...]:
        return listed(self.nodes)

    def _dimensions(self, features: list[NDArray[np.float64]], known: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """[N, nodes]."""
        found = [
            dimension(np.sqrt(np.sort(squared(one, own), axis=1)[:, : self.neighbours]))
            for one, own in zip(features, known, strict=True)
        ]
        return np.stack(found, axis=1)

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """The regression's linear part."""
        rows = self._dimensions(view.features(u, self._nodes), kept(fitted))
        weights = fitted["weights"]
        found: NDArray[np.float64] = ((rows - fitted["centre"]) / fitted["scale"] * weights[1:]).sum(1) + weights[0]
        return found

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor:
        """The same of the twin's features."""
        import torch

        columns = []
        for features, own in zip(view.features(u, self._nodes), kept(fitted), strict=True):
            near = squared_of(features, own).topk(self.neighbours, dim=1, largest=False, sorted=True).values
            logs = near.clamp_min(TINY**2).log() / 2
            mean = (logs[:, -1:] - logs).mean(1)
            columns.append(1 / mean.clamp_min(1 / MOST))
        weights, centre, scale = (
            torch.from_numpy(fitted[name]).to(columns[0]) for name in ("weights", "centre", "scale")
        )
        return ((torch.stack(columns, 1) - centre) / scale * weights[1:]).sum(1) + weights[0]


def dimension(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] maximum likelihood estimates from rising distances [N, k]: -1 over the mean of log(r / r of the last)."""
    logs = np.log(np.maximum(distances, TINY))
    mean = (logs[:, -1:] - logs).mean(1)
    found: NDArray[np.float64] = 1 / np.maximum(mean, 1 / MOST)
    return found


def logistic(inputs: NDArray[np.float64], wrong: NDArray[np.float64], ridge: float = 1.0) -> NDArray[np.float64]:
    """[1 + D] intercept and weights of a logistic regression, by Newton's method; both classes count the same.

    Args:
        inputs: [N, D].
        wrong: [N] 0 or 1.
        ridge: penalty on the squared weights, half of it.
    """
    rows = np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)
    share = wrong.mean()
    counts = np.where(wrong > 0, 0.5 / share, 0.5 / (1 - share))
    weights = np.zeros(rows.shape[1])
    penalty = np.diag([1e-6, *[ridge] * inputs.shape[1]])
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (counts * (said - wrong)) + penalty @ weights
        bend = (rows * (counts * said * (1 - said))[:, None]).T @ rows + penalty
        step = np.linalg.solve(bend, slope)
        weights = weights - step * min(1.0, 5 / max(float(np.abs(step).max()), TINY))
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


def _attacked(clean: NDArray[Any], labels: NDArray[np.int64], slope: SlopeView, eps: float) -> NDArray[Any]:
    """Sign steps up the cross-entropy, within a box of the domain."""
    import torch

    found = []
    for start in range(0, len(clean), 64):
        origin = torch.from_numpy(np.ascontiguousarray(clean[start : start + 64]))
        label = torch.from_numpy(labels[start : start + 64])
        point = origin.clone()
        for _ in range(STEPS):
            point.requires_grad_()
            logs = slope.log_probabilities(point)
            loss = -logs.gather(1, label.to(logs.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(loss, point)
            moved = point.detach() + 2.5 * eps / STEPS * gradient.nan_to_num().sign()
            point = moved.clamp(origin - eps, origin + eps).clamp(0, 1)
        found.append(point.detach().numpy())
    return np.concatenate(found)
