"""Deep k-nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.detectors.base import Arrays, Detector, Samples, SlopeView, View
from robaudit.detectors.neighbours import directions, kept, listed, nearest, squared, squared_of, stored
from robaudit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DeepNeighbours"]

SHARPNESS = 10.0
"""Of the soft count of neighbours: how fast a sample fades beyond the last one, in units of that one's distance."""


@attack_parameters
class DeepNeighbours(Detector):
    """Counts how many of an input's nearest clean samples, by the features of named nodes, are of another class.

    At each node the neighbours of the same direction are found (cosine distance) among labelled clean samples; the
    suspicion is the share of them, over all nodes, whose label is not the class that the model answers, from 0 to 1.
    That is the nonconformity of deep k-nearest neighbours over its most, and the threshold, set on clean samples apart
    from these, is the credibility below which it rejects. Nodes are named in ONNX files alone. The attacker follows a
    soft count of neighbours (Sitawarin, Wagner 2019, "On the Robustness of Deep K-Nearest Neighbors"). Source:
    Papernot, McDaniel 2018, "Deep k-Nearest Neighbors: Towards Confident, Interpretable and Robust Deep Learning".

    Args:
        nodes: names of nodes or tensors of the graph, with semicolons between; none: the last linear layer's input.
        neighbours: at each node.
        samples: most clean ones among which neighbours are searched.
    """

    id = "dknn"
    least = 20

    nodes: str = ""
    neighbours: Count = 20
    samples: Count = 500

    @property
    def fit_samples(self) -> int:
        """Among which neighbours are searched."""
        return self.samples

    def fit(self, samples: Samples, view: View, slope: SlopeView | None) -> Arrays:
        """The features and labels of clean samples."""
        if len(samples.points) <= self.neighbours:
            raise UsageError(
                f"the detector dknn counts {self.neighbours} neighbours, and there are {len(samples.points)} samples "
                "to search them among (give more data, or fewer neighbours)"
            )
        features = [directions(one) for one in view.features(samples.points, listed(self.nodes))]
        return {**stored(features), "labels": samples.labels.astype(np.int64)}

    def scores(self, u: NDArray[Any], view: View, fitted: Arrays) -> NDArray[np.float64]:
        """The share of other classes."""
        probabilities = view.probabilities(u)
        answered = np.where(np.isnan(probabilities).any(1), -1, np.nan_to_num(probabilities).argmax(1))
        shares = []
        for features, known in zip(view.features(u, listed(self.nodes)), kept(fitted), strict=True):
            near = nearest(squared(directions(features), known), self.neighbours)
            shares.append((fitted["labels"][near] != answered[:, None]).mean(1))
        found: NDArray[np.float64] = np.mean(shares, axis=0)
        return found

    def slope(self, u: Tensor, view: SlopeView, fitted: Arrays) -> Tensor:
        """A soft count."""
        import torch

        answered = view.log_probabilities(u).detach().argmax(1)
        other = torch.from_numpy(fitted["labels"]).to(u.device)[None] != answered[:, None]
        total = torch.zeros(len(u), dtype=u.dtype, device=u.device)
        nodes = listed(self.nodes)
        known = kept(fitted)
        for features, own in zip(view.features(u, nodes), known, strict=True):
            distances = squared_of(torch.nn.functional.normalize(features, dim=1), own)
            last = distances.detach().kthvalue(self.neighbours, dim=1).values[:, None].clamp_min(1e-12)
            weights = torch.sigmoid(SHARPNESS * (1 - distances / last))
            total = total + (weights * other).sum(1) / weights.sum(1)
        return total / len(known)
