"""What attacks by scores climb, at one point a slot or at several, and what those that ask about several share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.threat.arrays import TOLERANCE
from robaudit.threat.losses import log_odds, margin
from robaudit.threat.masked import floored, spread
from robaudit.threat.norms import distance

__all__ = [
    "STILL",
    "Portions",
    "ScoreLoss",
    "chosen",
    "differences",
    "inside",
    "leads",
    "objective",
    "penalised",
    "places",
    "projected",
    "share_left",
    "start_value",
]

ScoreLoss = Literal["ce", "margin"]
"""``ce`` is climbed as the log-odds, which rise and fall with the cross-entropy."""
TINY = 1e-12
"""Margin that stands for none."""
STILL = 16
"""Units of rounding, in those of the largest logit, by which a lead that never changes may seem to."""


def leads(clean: Tensor, logits: Tensor, label: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """[N] each: the margin, and the sample's own, of the rivals whose lead over the label has changed.

    A rival whose lead is still exactly the sample's, as that of a twin of the label's class is everywhere, has no part.

    Args:
        clean: [N, K] logits at the samples.
        logits: [N, K] at the points asked.
        label: [N] int64.
        goal: [N] int64, -1: any class but the label.
    """
    column, clean = label[:, None], floored(clean)
    now, before = logits - logits.gather(1, column), clean - clean.gather(1, column)
    size = torch.maximum(logits.abs().amax(1, keepdim=True), clean.abs().amax(1, keepdim=True))
    still = (now - before).abs() <= STILL * torch.finfo(now.dtype).eps * size
    still = still & ~still.all(1, keepdim=True) & (goal < 0)[:, None]
    still = still.scatter(1, column, True)  # the label is no rival of its own
    lead, own = (values.masked_fill(still, float("-inf")).amax(1) for values in (now, before))
    targeted = goal >= 0
    return (
        torch.where(targeted, margin(logits, label, goal), lead),
        torch.where(targeted, margin(clean, label, goal), own),
    )


def share_left(lead: Tensor, clean: Tensor) -> Tensor:
    """[N] the margin as a share of the sample's own, as :func:`leads` has them: 0 at the boundary, 1 at the sample."""
    return lead / clean.clamp_max(-TINY)


def objective(name: ScoreLoss, problem: Problem, logits: Tensor) -> Tensor:
    """[S], or [S, P] of several points a slot, float64: what is to rise, of logits [S, K] or [S, P, K]."""
    several = logits.dim() == 3
    flat = logits.flatten(0, 1) if several else logits
    count = logits.shape[1] if several else 1
    label, goal = problem.label.repeat_interleave(count), problem.goal.repeat_interleave(count)
    if name == "ce":
        value = log_odds(flat.double(), label, goal)
    else:
        value = leads(problem.clean.repeat_interleave(count, 0), flat, label, goal)[0].double()
    return value.reshape(logits.shape[:-1])


def penalised(problem: Problem, points: Tensor, logits: Tensor, c: Tensor) -> Tensor:
    """[S, P] float64, to be lowered: |δ|² + c max(-margin, 0).

    The margin is in units of the spread of the sample's own logits, so that their size decides nothing.

    Args:
        problem: the slots.
        points: [S, P, *shape].
        logits: [S, P, K] there.
        c: [S].
    """
    unit = spread(floored(problem.clean)).double().clamp_min(torch.finfo(torch.float64).tiny)[:, None]
    lacking = (-objective("margin", problem, logits) / unit).clamp_min(0.0)
    size = (points - problem.x[:, None]).double().flatten(2).square().sum(2)
    return size + c.double()[:, None] * lacking


def start_value(name: ScoreLoss, problem: Problem) -> Tensor:
    """[S] float64: the objective at the samples themselves."""
    loss = log_odds if name == "ce" else margin
    return loss(problem.clean.double(), problem.label, problem.goal)


def projected(problem: Problem, points: Tensor) -> Tensor:
    """[S, P, *shape] points brought back into each slot's ball, the box and the perturbation sets."""
    slots = torch.arange(len(problem), device=points.device).repeat_interleave(points.shape[1])
    return problem.take(slots).project(points.flatten(0, 1)).reshape(points.shape)


def inside(problem: Problem, points: Tensor) -> Tensor:
    """[S, P] bool: which of several points [S, P, *shape] lie in the ball, as the judge measures it."""
    delta = (points - problem.x[:, None]).flatten(0, 1)
    return distance(problem.norm, delta).reshape(points.shape[:2]) <= problem.eps.double()[:, None] + TOLERANCE / 2


def differences(points: Tensor, value: Tensor, answered: Tensor) -> Tensor:
    """[S, *shape] a slope: the sum over pairs of points of each pair's direction times the derivative along it.

    Args:
        points: [S, 2 N, *shape], those of the pairs on one side, then those on the other.
        value: [S, 2 N] float64 at the points.
        answered: [S, 2 N] bool; a pair counts where both are.
    """
    count = points.shape[1] // 2
    ways = (points[:, :count] - points[:, count:]).flatten(2)
    size = ways.square().sum(2, dtype=torch.float64).clamp_min(1e-38)  # of a point that stands in it is another
    both = answered[:, :count] & answered[:, count:]
    weight = torch.where(both, (value[:, :count] - value[:, count:]) / size, 0.0).to(ways.dtype)
    return torch.bmm(weight[:, None], ways).reshape(-1, *points.shape[2:])


def places(
    problem: Problem,
    purpose: str,
    step: Tensor | int,
    most: int,
    among: Tensor | None,
    shape: tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """[S, N] int64 places of ``most`` features, or of all where there are fewer, in random order, those marked first.

    A longer draw begins with the shorter one. The second tensor, [S, N] bool, tells which are marked.

    Args:
        problem: the slots.
        purpose: names the draw.
        step: of the draw.
        most: features.
        among: [S, *shape] bool, those marked, or of another shape what is drawn instead; None: all.
        shape: of what is drawn where all is; default that of a sample.
    """
    shape = shape or problem.shape if among is None else tuple(among.shape[1:])
    lot = problem.draws.uniform(purpose, step, shape).flatten(1)
    size = lot.shape[1]
    key = (lot * 2**24).long() * size + torch.arange(size, device=lot.device)  # no two are the same
    if among is not None:
        key = torch.where(among.flatten(1), key, key + 2**24 * size)
    first = key.topk(min(most, size), dim=1, largest=False).values
    return first % size, first < 2**24 * size


def chosen(problem: Problem, purpose: str, step: Tensor | int, count: Tensor, among: Tensor) -> Tensor:
    """bool: ``count`` [S] features drawn at random among those marked in ``among`` [S, *shape], or [S, 1, H, W] pixels.

    All of them where they are fewer.
    """
    place, marked = places(problem, purpose, step, int(count.max()), among)
    taken = marked & (torch.arange(place.shape[1], device=place.device) < count[:, None])
    found = torch.zeros_like(among).flatten(1)
    return found.scatter(1, place, taken).reshape(among.shape)


@dataclass(frozen=True)
class Portions:
    """The draws of one step, spread over as few requests as the limit of points allows.

    Args:
        total: draws of a step.
        most: draws that a request may hold.
    """

    total: int
    most: int

    @property
    def requests(self) -> int:
        """Of a step."""
        return -(-self.total // max(self.most, 1))

    @property
    def size(self) -> int:
        """Draws in each request; the last one may hold fewer."""
        return -(-self.total // self.requests)

    def rows(self, part: Tensor, points: int = 1) -> Tensor:
        """[S, points x size] bool: the draws of request number ``part`` [S], one block for each of its points."""
        place = torch.arange(self.size, device=part.device).repeat(points)
        return part[:, None] * self.size + place[None] < self.total
