"""Random points of a threat model's ball, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

__all__ = ["noise_within"]


def noise_within(threat: ThreatModel, origin: NDArray[Any], draws: int, random: np.random.Generator) -> NDArray[Any]:
    """[2 * draws, *shape] points of the ball and box around [*shape], in u-space: draws that fill it, then its corners.

    Corners: in L-infinity random signs of the radius, in L2 its surface, in L1 one feature, in L0 as many features as
    may change at an end of the domain. Where the threat model has other sets, points are projected onto them.

    Args:
        threat: norm, radius and sets.
        origin: a sample.
        draws: of each kind.
        random: where numbers come from.
    """
    shape, eps, features = (draws, *origin.shape), threat.eps, origin.size
    if threat.norm is Norm.LINF:
        filling = eps * (2 * random.random(shape) - 1)
        corners = eps * random.choice([-1.0, 1.0], shape)
    elif threat.norm is Norm.L2:
        ways = random.normal(size=(2, draws, features))
        ways /= np.linalg.norm(ways, axis=2, keepdims=True)
        filling = (eps * random.random((draws, 1)) ** (1 / features) * ways[0]).reshape(shape)
        corners = (eps * ways[1]).reshape(shape)
    elif threat.norm is Norm.L1:
        parts = random.exponential(size=(draws, features + 1))
        shares = parts[:, :-1] / parts.sum(1, keepdims=True)
        filling = (eps * shares * random.choice([-1.0, 1.0], shares.shape)).reshape(shape)
        single = np.zeros((draws, features))
        single[np.arange(draws), random.integers(features, size=draws)] = eps * random.choice([-1.0, 1.0], draws)
        corners = single.reshape(shape)
    else:
        count = min(int(eps), features)
        ranks = random.random((2, draws, features)).argsort(2).argsort(2) < count
        values = np.stack([random.random((draws, features)), random.integers(0, 2, (draws, features)).astype(float)])
        filling, corners = np.where(ranks, values - origin.reshape(-1), 0.0).reshape(2, *shape)
    points = np.concatenate([origin + filling, origin + corners]).clip(0, 1).astype(origin.dtype)
    for one in threat.sets:
        points = one.project(points, np.broadcast_to(origin, points.shape))
    return points
