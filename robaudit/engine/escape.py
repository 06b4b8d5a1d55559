"""The next rival, where a loss has no slope because the rival that it looks at moves with the class itself.

A class with the same weights as the label's, whatever its bias, is as far ahead or behind everywhere: the margin to it
is constant, and a sum of such margins, as in the log-odds, leaves rounding alone. One with nearly the same weights,
which pruning or a training of both sides leaves, has a slope, but no step meets it. The search here asks for slopes of
logits until it meets the first rival, by falling logit, that a step can reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer
from robaudit.engine.rows import Account
from robaudit.threat.masked import floored, largest, spread
from robaudit.threat.norms import per_slot

__all__ = [
    "Asked",
    "Escape",
    "escape_gradient",
    "escape_rows",
    "flat",
    "steepness",
    "suspect",
    "towards",
    "twin_by_rounding",
]

SUSPECT = 1e-2
"""A gradient is looked at more closely if the whole box could change the loss by less than this share of what the
spread of the logits does; where a loss can be attacked at all, ε of the box changes it as much as the spread."""
LITTLE = 1 / 16
"""The same share below which a nearer rival may be found behind the likeliest one."""
TIE = 16
"""Units of rounding, in those of the largest logit, that leave the order of two logits open."""
ROUNDING = 64
"""A slope of so many units of rounding, in those of the class's own logit, is none."""
REACH = 0.25
"""A rival is out of reach if a linear loss meets it only beyond this share of the box."""
SLIGHT = 0.25
"""A slope of at most this share of the class's own may be that of a class with nearly the same weights."""
PATIENCE = 4
"""Times the backwards at the last search in vain, at which the next is due."""


def steepness(gradient: Tensor) -> Tensor:
    """[N] most that a step through the whole box changes a linear loss."""
    return gradient.flatten(1).abs().sum(1)  # quicker than the norm of the library


def suspect(logits: Tensor, weight: Tensor, steep: Tensor, share: float = SUSPECT) -> Tensor:
    """Where a gradient is nothing, or so little that it may be rounding.

    Args:
        logits: [N, K].
        weight: [N] size of the loss's slope in the logits, summed over the classes.
        steep: [N] of the gradient, see :func:`steepness`.
        share: of what the spread of the logits changes the loss, that is so little.

    Returns:
        [N] bool; never where the gradient is not finite.
    """
    return steep <= share * weight * spread(logits).nan_to_num(0.0, 0.0, 0.0)


def flat(gradient: Tensor, weight: Tensor | float, own: Tensor) -> Tensor:
    """[N] bool: a gradient [N, *shape] that is rounding, beside a class's own [N], for a loss of that weight."""
    return gradient.flatten(1).abs().amax(1) <= _rounding(gradient, weight) * own


def _rounding(gradient: Tensor, weight: Tensor | float) -> Tensor | float:
    return ROUNDING * torch.finfo(gradient.dtype).eps * weight


def twin_by_rounding(problem: Problem, answer: Answer) -> Tensor | None:
    """Where a class that tied with the label at the sample itself is ahead by rounding alone, as a twin may be.

    The file, which rounds otherwise, need not agree. None where no logits are known.

    Returns:
        Bool with the answer's leading dimensions.
    """
    if answer.logits is None or problem.clean.shape[1] == 0:
        return None
    clean, logits = floored(problem.clean), answer.logits
    label = problem.label
    if logits.dim() > clean.dim():
        clean, label = clean[:, None].expand_as(logits), label[:, None].expand(logits.shape[:2])

    def tied(values: Tensor) -> Tensor:
        ends = torch.stack([label, answer.labels.clamp_min(0)], -1)
        first, second = values.gather(-1, ends).unbind(-1)
        return (first - second).abs() <= TIE * torch.finfo(values.dtype).eps * largest(values)

    return tied(clean) & tied(logits)


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
        size: [N] largest entry of the slope of a lead that is there already; None: of no size.
        steep: [N] how much the whole box changes that lead; None: not at all.
    """
    one = torch.zeros_like(logits).scatter(1, reference[:, None], 1.0)
    gradient = slope(one)
    own, size_of_own = gradient.flatten(1).abs().amax(1), steepness(gradient)
    nothing = torch.zeros_like(own)
    there = nothing if steep is None else steep
    slight = there <= SLIGHT * size_of_own
    flat_now = (nothing if size is None else size) <= _rounding(gradient, 2.0) * own
    passes = torch.ones_like(reference)
    if not bool(slight.any()):
        none = torch.zeros_like(slight)
        return Escape(own, none, none, reference, nothing, torch.zeros_like(gradient), passes)
    ranked = logits.scatter(1, reference[:, None], float("-inf")).nan_to_num(float("-inf"), neginf=float("-inf"))
    order = ranked.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
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
        little = (along * (1 + first) <= SLIGHT * size_of_own) & (behind > 0)
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
    nearer = lead * there > best * steepness(gradient)
    gradient = torch.where(per_slot(found, gradient), gradient, 0.0)
    return Escape(own, found, found & (low > 0) & (still | nearer), rival, lead, gradient, passes + found)


Search = Callable[[Tensor, Tensor, Tensor, Tensor], Escape]
"""From places [M] among the rows asked, and a class, size and steepness [M] of each, to what :func:`towards` finds."""


@dataclass(frozen=True)
class Asked:
    """The rows at which slopes were taken.

    Args:
        problem: the slots.
        slot: [N] int64 slot of each row.
        search: looks for a rival at some of the rows.
        account: billed in place, ``draws`` for each evaluation.
    """

    problem: Problem
    slot: Tensor
    search: Search
    account: Account
    draws: int

    def escape(self, places: Tensor, reference: Tensor, slope: Tensor) -> Escape:
        """Search at some rows, with the slope [M, *shape] of a lead that they have already, and bill them."""
        found = self.search(places, reference, slope.flatten(1).abs().amax(1), steepness(slope))
        slots = self.slot[places]
        self.account.forwards.index_add_(0, slots, torch.full_like(slots, self.draws))
        self.account.backwards.index_add_(0, slots, found.passes * self.draws)
        return found


def maybe_behind(asked: Asked, logits: Tensor, weight: Tensor, steep: Tensor) -> Tensor:
    """[N] bool: an untargeted loss rises so little that a nearer rival may lie behind the likeliest one.

    Where a search was in vain, the next waits until the slot's backwards are several times as many.
    """
    label, goal = asked.problem.label[asked.slot][:, None], asked.problem.goal[asked.slot]
    ahead = logits.gather(1, label)[:, 0] - logits.scatter(1, label, float("-inf")).amax(1)
    due = asked.account.backwards >= PATIENCE * asked.account.looked
    far = 2 * REACH * steep < weight * ahead
    return due[asked.slot] & (goal < 0) & (far | suspect(logits, weight, steep, LITTLE))


def escape_gradient(
    asked: Asked, logits: Tensor, weight: Tensor, loss: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss and gradient, where that is rounding those of the lead of the next rival with a slope.

    In an untargeted audit the rival's lead over the label, whatever class the loss aims at, as any will do; in a
    targeted one the goal's lead over its next rival.

    Args:
        asked: the rows.
        logits: [N, K].
        weight: [N] size of the loss's slope in the logits.
        loss: [N].
        gradient: [N, *shape].
    """
    steep = steepness(gradient)
    doubtful = suspect(logits, weight, steep)
    behind = ~doubtful & maybe_behind(asked, logits, weight, steep)
    places = (doubtful | behind).nonzero()[:, 0]
    if places.numel() == 0:
        return loss, gradient
    slot = asked.slot[places]
    goal = asked.problem.goal[slot]
    there = gradient[places]
    lead = there * per_slot(2 / weight[places].clamp_min(torch.finfo(weight.dtype).tiny), there)
    found = asked.escape(places, torch.where(goal >= 0, goal, asked.problem.label[slot]), lead)
    use = found.hopeless | (found.found & flat(there, weight[places], found.own))
    in_vain = slot[behind[places] & ~use]
    asked.account.looked[in_vain] = asked.account.backwards[in_vain]
    places, sign = places[use], torch.where(goal[use] >= 0, -1, 1).to(loss.dtype)
    loss = loss.index_copy(0, places, found.lead[use] * sign)
    slope = found.slope[use]
    return loss, gradient.index_copy(0, places, slope * per_slot(sign, slope))


def escape_rows(
    asked: Asked, logits: Tensor, classes: Tensor, base: Tensor, jacobian: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Classes, base and rows: rounding becomes 0, and where all rows are, one of the next rival stands in for them.

    In an untargeted audit it takes the place of the first class; in a targeted one, which asks for its goal alone, that
    of the base.

    Args:
        asked: the rows.
        logits: [N, K].
        classes: [N, C] whose logits were differentiated.
        base: [N] whose logit was taken off.
        jacobian: [N, C, *shape].
    """
    count = classes.shape[1]
    two = torch.full_like(logits[:, 0], 2.0)
    doubtful = [suspect(logits, two, steepness(jacobian[:, c])) for c in range(count)]
    places = torch.stack(doubtful, 1).any(1).nonzero()[:, 0]
    if places.numel() == 0:
        return classes, base, jacobian
    goal = asked.problem.goal[asked.slot[places]]
    targeted = (goal >= 0) & (classes[places] == goal[:, None]).all(1)
    rows = jacobian[places]
    found = asked.escape(places, torch.where(targeted, goal, base[places]), rows.abs().amax(1))
    level = torch.stack([flat(rows[:, c], 2.0, found.own) for c in range(count)], 1)
    rows = rows.masked_fill(level.reshape(*level.shape, *[1] * (rows.dim() - 2)), 0.0)
    use = found.found & level.all(1) & (targeted | (goal < 0))
    sign = torch.where(targeted, -1, 1).to(rows.dtype)
    rows[:, 0] = torch.where(per_slot(use, found.slope), found.slope * per_slot(sign, found.slope), rows[:, 0])
    named, off = classes[places], base[places]
    named[:, 0] = torch.where(use & ~targeted, found.rival, named[:, 0])
    off = torch.where(use & targeted, found.rival, off)
    return (
        classes.index_copy(0, places, named),
        base.index_copy(0, places, off),
        jacobian.index_copy(0, places, rows),
    )
