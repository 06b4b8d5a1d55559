"""AutoZOOM: descent along few random vectors, on a coarse perturbation."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.score.coarse import coarse_shape, enlarged
from robaudit.attacks.score.vector_descent import VectorDescent

__all__ = ["AutoZOOM"]


@attack_parameters
class AutoZOOM(VectorDescent):
    """Minimise |δ|² + c max(-margin, 0) by Adam over a coarse δ, along random vectors.

    The gradient is estimated from one-sided differences along random unit vectors: one until a point fools, then more.
    Adam begins anew there. c is searched for each sample as in ``zoo``. Images are enlarged bilinearly.

    Source: Tu, Ting, Chen, Liu, Zhang, Yi, Hsieh, Cheng 2019, "AutoZOOM: Autoencoder-based Zeroth Order Optimization
    Method for Attacking Black-box Neural Networks", algorithm 1 with bilinear resizing (with its autoencoder:
    ``autozoom-ae``); figures as its authors' code has them for ImageNet. The margin counts in units of the spread of
    the sample's own logits. Samples that are no image of C x H x W are searched as they are. L2; untargeted and
    targeted. Cost: up to ``queries`` queries of the scores, of which a success in the ball saves the rest, unless the
    audit seeks smallest distances.

    Args:
        queries: most queries a sample.
        side: of the coarse image, in pixels.
        vectors: of an estimate once a point has fooled; at most as many as a request may hold.
        switch: steps after which c changes.
        first_c: the first c.
        rate: of Adam, as a fraction of the domain's width.
        reach: L2 length of a difference in the coarse image; default 1 over its number of features.
    """

    id = "autozoom"

    queries: Count = 20_000
    side: Count = 32
    vectors: Count = 1
    switch: Count = 1000
    first_c: Positive = 10.0
    rate: Positive = 0.002
    reach: Positive | None = None

    def coarse(self, problem: Problem) -> tuple[int, ...]:
        return coarse_shape(problem.shape, self.side)

    def enlarged(self, problem: Problem, coarse: Tensor) -> Tensor:
        """Bilinearly."""
        return enlarged(coarse, problem.shape, "bilinear")
