"""Jacobian-based saliency map attack: push the two most salient features to the end of their range, and repeat."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots, Stop
from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.requests import Answer, Jacobian, Request
from robaudit.attacks.smallest import Smallest
from robaudit.threat.model import Access
from robaudit.threat.norms import Norm, distance, none_of, select

__all__ = ["JSMA", "best_pair"]

CANDIDATES = 64
"""Features whose pairs are all looked at in one round of the search for a pair."""
TILTS = (1.0, 4.0, 0.25, 1.0)
"""Where a round starts if those before found no pair."""


def best_pair(gain: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """The pair (p, q) of candidates with the largest (gain_p + gain_q)(loss_p + loss_q), both sums above 0.

    By the inequality of means, a pair beats the best so far only if its Σ (t gain + loss / t) exceeds
    2 √best, for any t > 0. So each round takes the candidates with the largest such term, t being what makes both parts
    of the best pair equal, and looks at all their pairs: no matrix of all pairs is needed. Exact for
    up to 64 candidates, and for more where no more than 64 pass that bound, as is usual; else a good pair.

    Args:
        gain: [S, n]; -inf where a candidate must not be taken.
        loss: [S, n], likewise.

    Returns:
        ([S, 2] int64 places, [S] value, 0 where there is none).
    """
    slots, count = gain.shape
    kept = min(CANDIDATES, count)
    first, second = torch.triu_indices(kept, kept, 1, device=gain.device)
    tiny = torch.finfo(gain.dtype).tiny ** 0.5
    start = (loss.amax(1).clamp_min(tiny) / gain.amax(1).clamp_min(tiny)).sqrt()
    best, tilt = torch.zeros_like(start), start
    pair = torch.zeros(slots, 2, dtype=torch.int64, device=gain.device)
    for factor in TILTS:
        tilt = torch.where(best > 0, tilt, start * factor)[:, None]
        places = (tilt * gain + loss / tilt).topk(kept, dim=1).indices
        a, b = gain.gather(1, places), loss.gather(1, places)
        gains, losses = a[:, first] + a[:, second], b[:, first] + b[:, second]
        values = torch.where((gains > 0) & (losses > 0), gains * losses, 0.0)
        value, index = values.max(1)
        better = value > best
        chosen = torch.stack([places.gather(1, ends[index][:, None])[:, 0] for ends in (first, second)], 1)
        pair = torch.where(better[:, None], chosen, pair)
        ratio = losses.gather(1, index[:, None])[:, 0] / gains.gather(1, index[:, None])[:, 0]
        tilt = torch.where(better, ratio.clamp(tiny, 1 / tiny).sqrt(), tilt[:, 0])
        best = torch.where(better, value, best)
    return pair, best


@dataclass
class State(Slots):
    """Where the slot stands; ``stuck``: no pair is left that helps."""

    point: Tensor
    stuck: Tensor
    step: Tensor
    smallest: Smallest


@attack_parameters
class JSMA(SlotAttack[State]):
    """Change the two features that raise the target's logit and lower the label's (or all others') the most; repeat.

    Source: Papernot, McDaniel, Jha, Fredrikson, Celik, Swami 2016, "The Limitations of Deep Learning in
    Adversarial Settings", algorithm 3 with the saliency maps of eq. 8 (features go up) and eq. 9 (down) over pairs,
    on logits (``saliency: others``). Both maps are searched at once, a feature never turns back, and one goes alone
    where no second one helps or may change; the paper's own runs use ``direction: up``. A greedy attack on L0,
    targeted; an untargeted audit tries several classes. Cost: a forward and a backward (two with
    ``saliency: others``) a step; where theta is 1, for each class at most as many steps as features may change, and
    three more (half as many where all of them change in pairs).

    Args:
        theta: how far a feature moves in a step, as a fraction of the domain's width.
        gamma: most features changed, as a share of all, and at least two; an audit's radius limits them too, unless
            it seeks smallest distances.
        targets: classes tried for each sample of an untargeted audit, by falling clean logit.
        direction: which way features may go.
        saliency: what is weighed: the target's logit less the label's; the target's alone; or, as in the paper, the
            target's against the sum of all others, which takes twice as many features on a small image classifier.
    """

    id = "jsma"
    access = Access.WHITE_BOX
    norms = frozenset({Norm.L0})
    stop = Stop.RUN_ON

    theta: Annotated[float, Field(gt=0, le=1)] = 1.0
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.145
    targets: Count = 9
    direction: Literal["both", "up", "down"] = "both"
    saliency: Literal["label", "target", "others"] = "label"

    @property
    def unit_aims(self) -> int:
        return self.targets

    def most(self, task: Task) -> Cost:
        """A step moves at least one feature, which turns back nowhere; the map is taken once more than that."""
        features = max(2, math.floor(self.gamma * task.features))
        features = features if task.minimal else min(features, math.floor(task.eps))
        moves = 1 if self.theta == 1 else math.ceil(1 / self.theta) + 1  # rounding may leave a last short one
        steps = (features + 2) * moves + 1
        return Cost(steps, steps * (2 if self.saliency == "others" else 1))

    def init(self, problem: Problem) -> State:
        nowhere = torch.zeros_like(problem.label, dtype=torch.bool)
        return State(problem.x, nowhere, problem.full(0).long(), Smallest.none(problem))

    def query(self, problem: Problem, state: State) -> Request:
        """What the map is made of: the target's logit, less the label's, or the sum of all beside it."""
        if self.saliency != "others":
            base = problem.label if self.saliency == "label" else None
            return Jacobian(state.point, classes=problem.target_class[:, None], base=base)
        total = torch.full_like(problem.target_class, -1)
        return Jacobian(state.point, classes=torch.stack([problem.target_class, total], 1))

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        """Move the most salient pair; the sample itself is no answer, whatever the model says of it."""
        assert answer.gradient is not None
        first = state.step == 0
        seen = dataclasses.replace(answer, fooled=answer.fooled & ~first)
        towards, *total = answer.gradient.flatten(2).unbind(1)
        others = total[0] - towards if total else -towards
        up, down = self._open(problem, state.point)
        none = torch.zeros_like(towards[:, :1])  # a candidate that changes nothing, beside which one goes alone
        never = float("-inf")
        gain = torch.cat([none, towards.masked_fill(~up, never), (-towards).masked_fill(~down, never)], 1)
        loss = torch.cat([none, (-others).masked_fill(~up, never), others.masked_fill(~down, never)], 1)
        pair, value = best_pair(gain, loss)
        size = towards.shape[1]
        left = self._most(problem) - distance(Norm.L0, state.point - problem.x)
        if not none_of(left < 2):
            single, worth = self._best_single(problem, state.point, gain, loss, left)
            pair = select(left < 2, torch.stack([torch.zeros_like(single), single], 1), pair)
            value = torch.where(left < 2, worth, value)
        feature = torch.where(pair > size, pair - size, pair)  # 0: none
        way = torch.where(pair > size, -self.theta, self.theta).to(none.dtype)
        way = torch.where((pair == 0) | (value == 0)[:, None], 0.0, way)
        move = torch.cat([none, torch.zeros_like(towards)], 1).scatter_add(1, feature, way)[:, 1:]
        point = problem.clip(state.point + move.reshape(state.point.shape))
        return State(point, value == 0, state.step + 1, state.smallest.seen(problem, seen))

    def _best_single(
        self, problem: Problem, point: Tensor, gain: Tensor, loss: Tensor, left: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[S] place of the candidate that goes best alone, by what its step changes, and its value, 0 where none helps.

        Where no more features may change (``left`` [S] is below 1), of those that have changed already.
        """
        here = point.flatten(1)
        room = torch.cat([torch.zeros_like(here[:, :1]), 1 - here, here], 1).clamp_max(self.theta)
        changed = here != problem.x.flatten(1)
        may = torch.cat([changed[:, :1], changed, changed], 1) | (left >= 1)[:, None]
        helps = (gain > 0) & (loss > 0) & may
        value, place = torch.where(helps, gain.clamp_min(0) * loss.clamp_min(0), 0.0).mul(room.square()).max(1)
        return place, value

    def _open(self, problem: Problem, point: Tensor) -> tuple[Tensor, Tensor]:
        """[S, d] bool each: features that may still go up, and down."""
        free = torch.ones_like(point, dtype=torch.bool) if problem.fixed is None else ~problem.fixed
        up = free & (point >= problem.x) & (point < 1)
        down = free & (point <= problem.x) & (point > 0)
        if self.direction == "up":
            down = torch.zeros_like(up)
        elif self.direction == "down":
            up = torch.zeros_like(down)
        return up.flatten(1), down.flatten(1)

    def done(self, problem: Problem, state: State) -> Tensor:
        """Where the goal is reached, no pair helps, or too many features have changed."""
        changed = distance(Norm.L0, state.point - problem.x)
        return state.smallest.found | state.stuck | (changed > self._most(problem))

    def _most(self, problem: Problem) -> Tensor:
        """[S] most features that may change."""
        most = problem.full(max(2, math.floor(self.gamma * math.prod(problem.shape))))
        return most if problem.minimal else torch.minimum(most, problem.eps)

    def best(self, problem: Problem, state: State) -> tuple[Tensor, Tensor]:
        return state.smallest.point, ~state.smallest.found
