"""The likeliest rival of a class that a step can reach, by slopes of logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.threat.norms import per_slot

__all__ = ["REACH", "Escape", "flat", "steepness", "towards"]

ROUNDING = 64
"""A slope of so many units of rounding, in those of the class's own logit, is none."""
REACH = 0.25
"""A rival is out of reach if a linear loss meets it only beyond this share of the box."""
SLIGHT = 0.25
"""A slope of at most this share of the class's own may be that of a class with nearly the same weights."""


def steepness(gradient: Tensor) -> Tensor:
    """[N] most that a step through the whole box changes a linear loss."""
    return gradient.flatten(1).abs().sum(1)  # quicker than the norm of the library


def flat(gradient: Tensor, weight: Tensor | float, own: Tensor) -> Tensor:
    """[N] bool: a gradient [N, *shape] that is rounding, beside a class's own [N], for a loss of that weight."""
    return gradient.flatten(1).abs().amax(1) <= _rounding(gradient, weight) * own


def _rounding(gradient: Tensor, weight: Tensor | float) -> Tensor | float:
    return ROUNDING * torch.finfo(gradient.dtype).eps * weight


@dataclass(frozen=True)
class Escape:
    """The nearest rival with a slope of each row.

    Args:
        own: [N] largest entry of the gradient of the class's own logit.
        found: [N] bool, some rival has a slope.
        hopeless: [N] bool, the likeliest rival has none, or is out of reach where another is not.
        rival: [N] int64, void where none has.
        lead: [N] the rival's logit less the class's.
        slope: [N, *shape] of that lead.
        passes: [N] int64 backwards that the row needed.
    """

    own: Tensor
    found: Tensor
    hopeless: Tensor
    rival: Tensor
    lead: Tensor
    slope: Tensor
    passes: Tensor

    @classmethod
    def joined(cls, parts: list[Escape]) -> Escape:
        """Rows of several calls."""
        columns = [[getattr(part, field.name) for part in parts] for field in dataclasses.fields(cls)]
        return cls(*(torch.cat(column) for column in columns))


def towards(
    logits: Tensor,
    reference: Tensor,
    slope: Callable[[Tensor], Tensor],
    size: Tensor | None = None,
    steep: Tensor | None = None,
) -> Escape:
    """Look for the likeliest rival of a class whose lead over it has a slope along which it is within reach.

    Ranks are tried by doubling and then by halving, each time for a weighted sum of leads of the first so many rivals:
    of 1,000 classes at most twenty backwards, of a pair of twins three, and one where the slope that is there already
    is of the size of the class's own. Where all rivals are out of reach, any slope counts if there was none.

    Args:
        logits: [N, K], without a graph.
        reference: [N] int64 the class.
        slope: from weights [N, K] to the gradient [N, *shape] of the logits' weighted sum.
        size: [N] largest entry of the slope of a lead that is there already; None: the likeliest rival's is asked.
        steep: [N] how much the whole box changes that lead.
    """
    ranked = logits.scatter(1, reference[:, None], float("-inf")).nan_to_num(float("-inf"), neginf=float("-inf"))
    order = ranked.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    one = torch.zeros_like(logits).scatter(1, reference[:, None], 1.0)
    gradient = slope(one)
    own, steep_own = gradient.flatten(1).abs().amax(1), steepness(gradient)
    passes = torch.ones_like(reference)
    if size is None or steep is None:
        gradient = slope((rank == 0).to(logits.dtype) - one)
        size, steep, passes = gradient.flatten(1).abs().amax(1), steepness(gradient), passes + 1
    slight, flat_now = steep <= SLIGHT * steep_own, size <= _rounding(gradient, 2.0) * own
    if not bool(slight.any()):
        none = torch.zeros_like(slight)
        return Escape(own, none, none, reference, torch.zeros_like(own), torch.zeros_like(gradient), passes)
    sane = ranked.isfinite()  # the slope of a score of minus infinity is not a number
    known = logits.masked_fill(~logits.isfinite(), 0.0)

    def level(first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N] bool: the first so many [N] rivals have no slope; they are out of reach along it; it is too slight.

        Their leads are weighted unequally, so that none outweighs the others.
        """
        weights = torch.where(sane & (rank < first[:, None]), 1 / (2.0 + rank.to(logits.dtype)), 0.0)
        total = weights.sum(1)
        weights = weights - one * total[:, None]
        gradient = slope(weights)
        behind, along = -(weights * known).sum(1), steepness(gradient)
        little = (along * (1 + first) <= SLIGHT * steep_own) & (behind > 0)
        return flat(gradient, total, own), REACH * along < behind, little

    low, high = torch.zeros_like(reference), torch.full_like(reference, logits.shape[1] - 1)
    none, far, _ = level(high)
    found, met, any_slope = slight & ~none, ~far, far & flat_now
    passes, still = passes + slight, torch.zeros_like(slight)
    while True:
        going = found & (high - low > 1)
        if not bool(going.any()):
            break
        middle = torch.where(going, torch.minimum((2 * low).clamp_min(1), (low + high) // 2), high)
        none, far, little = level(middle)
        still |= none & (middle == 1)
        hopeless = none | ~any_slope & (far | little)
        low = torch.where(going & hopeless, middle, low)
        high = torch.where(going & ~hopeless, middle, high)
        met, passes = met | (going & ~hopeless), passes + going
    found = found & (met | any_slope)
    rival = order.gather(1, low[:, None])[:, 0]
    gradient = slope(torch.zeros_like(logits).scatter(1, rival[:, None], 1.0) - one)
    lead = logits.gather(1, rival[:, None])[:, 0] - logits.gather(1, reference[:, None])[:, 0]
    best = logits.gather(1, order[:, :1])[:, 0] - logits.gather(1, reference[:, None])[:, 0]
    nearer = lead * steep > best * steepness(gradient)
    gradient = torch.where(per_slot(found, gradient), gradient, 0.0)
    return Escape(own, found, found & (low > 0) & (still | nearer), rival, lead, gradient, passes + found)
