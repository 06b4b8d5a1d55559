"""AutoZOOM: descent along few random vectors, on a coarse perturbation."""

from __future__ import annotations

from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.parameters import Count, Positive, attack_parameters
from robaudit.attacks.score.coarse import coarse_shape, enlarged
from robaudit.attacks.score.vector_descent import VectorDescent, is_small

__all__ = ["AutoZOOM"]

SIDE = 32
"""Of the coarse image of a large one."""


@attack_parameters
class AutoZOOM(VectorDescent):
    """Minimise |δ|² + c max(-margin, 0) by Adam over a coarse δ, along random vectors.

    The gradient is estimated from one-sided differences along random unit vectors: one until a point fools, then more.
    Adam begins anew there. c is searched for each sample as in ``zoo``. Images are enlarged bilinearly.

    Source: Tu, Ting, Chen, Liu, Zhang, Yi, Hsieh, Cheng 2019, "AutoZOOM: Autoencoder-based Zeroth Order Optimization
    Method for Attacking Black-box Neural Networks", algorithm 1 with bilinear resizing (with its autoencoder:
    ``autozoom-ae``); figures as its authors' code has them for each data set, a third of the rate where that searches
    colours through a hyperbolic tangent. The margin counts in units of the spread of
    the sample's own logits. Samples that are no image of C x H x W are searched as they are. L2; untargeted and
    targeted. Cost: up to ``queries`` queries of the scores, of which a success in the ball saves the rest, unless the
    audit seeks smallest distances.

    Args:
        queries: most queries a sample.
        side: of the coarse image, in pixels; default 32, of images of at most 32 x 32 pixels half of theirs.
        vectors: of an estimate once a point has fooled; at most as many as a request may hold.
        switch: steps after which c changes.
        first_c: the first c.
        rate: of Adam, as a fraction of the domain's width; default 0.01 for one channel, 0.0033 for small images in
            colour, 0.00067 for larger ones.
        reach: L2 length of a difference in the coarse image; default 1 over its number of features.
    """

    id = "autozoom"

    queries: Count = 20_000
    side: Count | None = None
    vectors: Count = 1
    switch: Count = 1000
    first_c: Positive = 10.0
    rate: Positive | None = None
    reach: Positive | None = None

    def coarse(self, problem: Problem) -> tuple[int, ...]:
        shape = problem.shape
        if self.side is not None:
            return coarse_shape(shape, self.side)
        return (shape[0], -(-shape[1] // 2), -(-shape[2] // 2)) if is_small(shape) else coarse_shape(shape, SIDE)

    def enlarged(self, problem: Problem, coarse: Tensor) -> Tensor:
        """Bilinearly."""
        return enlarged(coarse, problem.shape, "bilinear")
