"""Units of rectifiers that may be on either side of their kink, as interval bounds tell."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from robaudit.certificates.base import Ball
from robaudit.certificates.intervals.calls import Call, UnknownCallError
from robaudit.certificates.intervals.propagate import propagate
from robaudit.certificates.intervals.values import Bounds
from robaudit.certificates.subject import Subject
from robaudit.threat.norms import Norm

__all__ = ["unstable_units"]

RECTIFIERS = {"relu", "relu6", "leaky_relu", "prelu"}
CAPPED = {"clamp": ("min", "max"), "hardtanh": ("min_val", "max_val")}
"""Calls that are rectifiers where their lower end is 0, and what the ends are called."""
BOUNDED = (Norm.LINF, Norm.L2, Norm.L1)
"""Norms whose balls bounds are known of."""


def unstable_units(subject: Subject, ball: Ball, points: Iterable[Tensor]) -> dict[str, tuple[int, int]] | str:
    """(units with a kink between their bounds, all units) of each rectifier, added up over the points.

    The kink is at 0, and at the cap of one that is capped. Bounds hold more than what the file does, so that the first
    number is an upper bound. Sources: Gowal et al. 2018, "On the Effectiveness of Interval Bound Propagation for
    Training Verifiably Robust Models" (the bounds); Xiao, Tjeng, Shafiullah, Madry 2019, "Training for Faster
    Adversarial Robustness Verification via Inducing ReLU Stability" (what unstable units cost verifiers).

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
        rectifiers = [(call.given[0], kinks) for call in run.calls.values() if (kinks := _kinks(call))]
        for place, (given, kinks) in enumerate(rectifiers, 1):
            unstable = torch.stack([(given.low < kink) & (given.high > kink) for kink in kinks]).any(0)
            before = found.get(f"ReLU {place}", (0, 0))
            found[f"ReLU {place}"] = before[0] + int(unstable.sum()), before[1] + unstable.numel()
    return found


def _kinks(call: Call) -> list[float]:
    """Where a rectifier, plain, with a slope or capped, changes its slope; nothing of another call."""
    if call.name in RECTIFIERS:
        return [0.0, 6.0] if call.name == "relu6" else [0.0]
    if call.name not in CAPPED:
        return []
    low, high = (call.argument(place, name) for place, name in enumerate(CAPPED[call.name], 1))
    if any(isinstance(end, Tensor | Bounds) and not _is_number(end) for end in (low, high)):
        return []
    if low is None or float(low) != 0:  # it cuts off other than what is negative
        return []
    return [0.0] if high is None else [0.0, float(high)]


def _is_number(end: Tensor | Bounds) -> bool:
    return isinstance(end, Tensor) and end.numel() == 1
