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
    ranks = _Ranks(logits, rank, ranked.isfinite(), one, slope, own, steep_own)
    found, low, still, more = ranks.searched(slight, flat_now)
    passes = passes + more
    rival = order.gather(1, low[:, None])[:, 0]
    gradient = slope(torch.zeros_like(logits).scatter(1, rival[:, None], 1.0) - one)
    lead = logits.gather(1, rival[:, None])[:, 0] - logits.gather(1, reference[:, None])[:, 0]
    best = logits.gather(1, order[:, :1])[:, 0] - logits.gather(1, reference[:, None])[:, 0]
    nearer = lead * steep > best * steepness(gradient)
    gradient = torch.where(per_slot(found, gradient), gradient, 0.0)
    return Escape(own, found, found & (low > 0) & (still | nearer), rival, lead, gradient, passes + found)


@dataclass(frozen=True)
class _Ranks:
    """The rivals of a class by falling logit, asked together for a slope.

    Args:
        logits: [N, K].
        rank: [N, K] of each class.
        sane: [N, K] bool, classes with a finite logit: the slope of a score of minus infinity is not a number.
        one: [N, K] 1 at the class.
        slope: from weights [N, K] to the gradient [N, *shape] of the logits' weighted sum.
        own: [N] largest entry of the gradient of the class's own logit, and ``steep_own`` its steepness.
    """

    logits: Tensor
    rank: Tensor
    sane: Tensor
    one: Tensor
    slope: Callable[[Tensor], Tensor]
    own: Tensor
    steep_own: Tensor

    def level(self, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N] bool: the first so many [N] rivals have no slope; they are out of reach along it; it is too slight.

        Their leads are weighted unequally, so that none outweighs the others.
        """
        weights = torch.where(
            self.sane & (self.rank < first[:, None]), 1 / (2.0 + self.rank.to(self.logits.dtype)), 0.0
        )
        total = weights.sum(1)
        weights = weights - self.one * total[:, None]
        gradient = self.slope(weights)
        known = self.logits.masked_fill(~self.logits.isfinite(), 0.0)
        behind, along = -(weights * known).sum(1), steepness(gradient)
        little = (along * (1 + first) <= SLIGHT * self.steep_own) & (behind > 0)
        return flat(gradient, total, self.own), REACH * along < behind, little

    def searched(self, slight: Tensor, flat_now: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(some rival will do, its rank, the likeliest has no slope, backwards needed), [N] each.

        Args:
            slight: [N] bool, rows that need another rival.
            flat_now: [N] bool, rows without any slope there already.
        """
        low, high = (torch.full_like(self.rank[:, 0], end) for end in (0, self.logits.shape[1] - 1))
        none, far, _ = self.level(high)
        found, met, any_slope = slight & ~none, ~far, far & flat_now
        passes, still = slight.to(low.dtype), torch.zeros_like(slight)
        while True:
            going = found & (high - low > 1)
            if not bool(going.any()):
                return found & (met | any_slope), low, still, passes
            middle = torch.where(going, torch.minimum((2 * low).clamp_min(1), (low + high) // 2), high)
            none, far, little = self.level(middle)
            still |= none & (middle == 1)
            hopeless = none | ~any_slope & (far | little)
            low = torch.where(going & hopeless, middle, low)
            high = torch.where(going & ~hopeless, middle, high)
            met, passes = met | (going & ~hopeless), passes + going
