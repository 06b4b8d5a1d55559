"""Units of rectifiers that may be on either side of their kink, as interval bounds tell."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from robaudit.certificates.base import Ball
from robaudit.certificates.intervals.calls import Call, UnknownCallError
from robaudit.certificates.intervals.propagate import propagate
from robaudit.certificates.subject import Subject
from robaudit.threat.norms import Norm

__all__ = ["unstable_units"]

RECTIFIERS = {"relu", "relu6", "leaky_relu", "prelu"}
BOUNDED = (Norm.LINF, Norm.L2, Norm.L1)
"""Norms whose balls bounds are known of."""


def unstable_units(subject: Subject, ball: Ball, points: Iterable[Tensor]) -> dict[str, tuple[int, int]] | str:
    """(units with a bound below 0 and one above, all units) of each rectifier, added up over the points.

    Bounds hold more than what the file does, so that the first number is an upper bound (Gowal et al. 2018, "On the
    Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models"; unstable units and what they
    cost verifiers: Xiao et al. 2019, "Training for Faster Adversarial Robustness Verification via Inducing ReLU
    Stability").

    Args:
        subject: the file.
        ball: around each point.
        points: [*shape] float64 in u-space.

    Returns:
        By the place of the rectifier in the graph, or a clause that says why no bounds are known.
    """
    if ball.norm not in BOUNDED:
        return f"interval bounds are of {', '.join(BOUNDED)}, and the threat model is {ball.norm}"
    found: dict[str, tuple[int, int]] = {}
    for point in points:
        try:
            with torch.no_grad():
                run = propagate(subject, subject.region(point, ball))
        except UnknownCallError as error:
            return f"no interval bounds are known of {error}"
        rectifiers = [call for call in run.calls.values() if _is_rectifier(call)]
        for place, call in enumerate(rectifiers, 1):
            (given,) = call.given
            unstable, units = int(((given.low < 0) & (given.high > 0)).sum()), given.low.numel()
            before = found.get(f"ReLU {place}", (0, 0))
            found[f"ReLU {place}"] = before[0] + unstable, before[1] + units
    return found


def _is_rectifier(call: Call) -> bool:
    """A ReLU, one with a slope, or one that is capped: all have a kink at 0."""
    return call.name in RECTIFIERS or (call.name == "clamp" and call.argument(1, "min") == 0)
