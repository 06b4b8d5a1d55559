"""The next rival, where a loss has no slope because the rival that it looks at moves with the class itself.

A class with the same weights as the label's, whatever its bias, is as far ahead or behind everywhere: the margin to it
is constant, and a sum of such margins, as in the log-odds, leaves rounding alone. One with nearly the same weights,
which pruning or a training of both sides leaves, has a slope, but no step meets it. The search here asks for slopes of
logits until it meets the first rival, by falling logit, that a step can reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer
from robaudit.engine.rivals import REACH, Escape, flat, steepness
from robaudit.engine.rows import Account, Rows
from robaudit.threat.masked import floored, largest, spread
from robaudit.threat.norms import per_slot

__all__ = ["Asked", "all_usual", "escape_gradient", "escape_rows", "twin_by_rounding", "unusual"]

SUSPECT = 1e-2
"""A gradient is looked at more closely if the whole box could change the loss by less than this share of what the
spread of the logits does; where a loss can be attacked at all, ε of the box changes it as much as the spread."""
LITTLE = 1 / 16
"""The same share below which a nearer rival may be found behind the likeliest one."""
TIE = 16
"""Units of rounding, in those of the largest logit, that leave the order of two logits open."""
PATIENCE = 4
"""Times the backwards at the last search in vain, at which the next is due."""


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


Search = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Escape]
"""From places [M] among the rows asked, a class [M] of each, and size and steepness [M] of a lead that is there
already, to what :func:`robaudit.engine.rivals.towards` finds."""


@dataclass(frozen=True)
class Asked:
    """The rows at which slopes were taken.

    Args:
        problem: the slots.
        rows: the rows.
        search: looks for a rival at some of the rows.
        account: billed in place.
        copies: evaluations of each row.
    """

    problem: Problem
    rows: Rows
    search: Search
    account: Account
    copies: int

    @property
    def slot(self) -> Tensor:
        """[N] int64 slot of each row."""
        return self.rows.slots(len(self.problem))

    def escape(self, places: Tensor, reference: Tensor, slope: Tensor | None = None) -> Escape:
        """Search at some rows, and bill them; ``slope``: [M, *shape] of a lead that is there already."""
        there = (None, None) if slope is None else (slope.flatten(1).abs().amax(1), steepness(slope))
        found = self.search(places, reference, *there)
        slots = self.slot[places]
        self.account.forwards.index_add_(0, slots, torch.full_like(slots, self.copies))
        self.account.backwards.index_add_(0, slots, found.passes * self.copies)
        return found


def all_usual(logits: Tensor, weight: Tensor, steep: Tensor) -> bool:
    """Whether all rows are known to be none that :func:`unusual` tells, and to have finite logits; on a CPU alone, as
    it is a wait on a GPU. The arguments are those of that function."""
    if steep.device.type != "cpu":
        return False
    first, second = logits.topk(2, dim=1).values.unbind(1)
    width = LITTLE * (first - logits.amin(1))  # not finite where a logit is not
    most = weight * torch.maximum(width, (first - second) / (2 * REACH))  # the label's lead is at most the first's
    return bool(((steep > most) & (steep < math.inf)).all())


def unusual(asked: Asked, logits: Tensor, weight: Tensor, steep: Tensor, ratios: Tensor | None) -> Tensor:
    """[N] bool: rows whose gradient is not finite, or that :func:`escape_gradient` may have to look at.

    Args:
        asked: the rows.
        logits: [N, K].
        weight: [N] size of the loss's slope in the logits, summed over the classes.
        steep: [N] of the gradient, see :func:`robaudit.engine.rivals.steepness`.
        ratios: [N] bool, see :func:`escape_gradient`.
    """
    width = LITTLE * (logits.amax(1) - logits.amin(1))  # the spread is at most that
    little = steep <= weight * width
    found = little | _far(asked, logits, weight, steep) | ~(steep < math.inf)
    return found if ratios is None else found | (ratios & _due(asked))


def _due(asked: Asked) -> Tensor:
    """[N] bool: whether a nearer rival may be looked for on suspicion alone; after a search in vain not for long."""
    due = asked.account.backwards >= PATIENCE * asked.account.looked
    return asked.rows.of(due & (asked.problem.goal < 0))


def _far(asked: Asked, logits: Tensor, weight: Tensor, steep: Tensor) -> Tensor:
    """[N] bool: along its gradient the loss meets the likeliest rival out of reach, if at all, and a search is due."""
    label = asked.rows.of(asked.problem.label)[:, None]
    ahead = logits.gather(1, label)[:, 0] - logits.scatter(1, label, float("-inf")).amax(1)
    return (2 * REACH * steep < weight * ahead) & _due(asked)


def escape_gradient(
    asked: Asked, logits: Tensor, weight: Tensor, loss: Tensor, gradient: Tensor, ratios: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Loss and gradient, where no step reaches the likeliest rival those of the lead of the next one that is reached.

    In an untargeted audit the rival's lead over the label, whatever class the loss aims at, as any will do; in a
    targeted one, where the gradient is rounding, the goal's lead over its next rival.

    Args:
        asked: the rows.
        logits: [N, K].
        weight: [N] size of the loss's slope in the logits.
        loss: [N].
        gradient: [N, *shape].
        ratios: [N] bool, rows that climb a ratio, whose slope may be that of its denominator alone, which leads away
            from the boundary: that of the lead of the likeliest rival, its numerator, is looked at. None: no rows.
    """
    steep, width = steepness(gradient), weight * spread(logits).nan_to_num(0.0, 0.0, 0.0)
    sure = steep <= SUSPECT * width
    hidden = torch.zeros_like(sure) if ratios is None else ratios & _due(asked) & ~sure
    maybe = hidden | _far(asked, logits, weight, steep) | (_due(asked) & (steep <= LITTLE * width))
    maybe &= ~sure
    for rows in (sure | (maybe & ~hidden), hidden):
        places = rows.nonzero()[:, 0]
        if places.numel() == 0:
            continue
        slot, there = asked.slot[places], gradient[places]
        lead = there * per_slot(2 / weight[places].clamp_min(torch.finfo(weight.dtype).tiny), there)
        goal = asked.problem.goal[slot]
        reference = torch.where(goal >= 0, goal, asked.problem.label[slot])
        found = asked.escape(places, reference, None if rows is hidden else lead)
        use = found.hopeless | (found.found & flat(there, weight[places], found.own))
        in_vain = slot[maybe[places] & ~use]
        asked.account.looked[in_vain] = asked.account.backwards[in_vain]
        places, sign = places[use], torch.where(goal[use] >= 0, -1, 1).to(loss.dtype)
        loss = loss.index_copy(0, places, found.lead[use] * sign)
        slope = found.slope[use]
        gradient = gradient.index_copy(0, places, slope * per_slot(sign, slope))
    return loss, gradient


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
    least = torch.stack([steepness(jacobian[:, c]) for c in range(count)], 1).amin(1)
    places = (least <= SUSPECT * 2 * spread(logits).nan_to_num(0.0, 0.0, 0.0)).nonzero()[:, 0]
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
